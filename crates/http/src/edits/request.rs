//! The body of a new edit.

use axum::http::StatusCode;
use store::Edit;
use utoipa::ToSchema;

use crate::api_error::{ApiError, ApiResult, FieldError};
use crate::extract::fields::{Fields, FromFields};
use crate::shapes::edit::EditKind;

/// Length limit of a name or a team.
const MAX_CHARS: usize = 100;

/// An edit.
#[derive(Debug, ToSchema)]
pub(crate) struct EditRequest {
    #[schema(value_type = EditKind)]
    kind: Option<EditKind>,
    /// The track to edit.
    #[schema(value_type = i64, minimum = 0)]
    track: Option<i64>,
    /// For `name`: the new name; null takes it away.
    #[schema(max_length = 100, pattern = r"\S")]
    name: Option<String>,
    /// For `team`: the team; null takes the track out of its team.
    #[schema(max_length = 100, pattern = r"\S")]
    team: Option<String>,
    /// For `merge` the track that this one becomes a part of, for `swap` the one to exchange it with.
    #[schema(minimum = 0)]
    other: Option<i64>,
    /// For `split` and `swap`: the first frame that changes.
    #[schema(minimum = 0)]
    frame: Option<i64>,
}

impl FromFields for EditRequest {
    fn read(fields: &mut Fields) -> Self {
        for name in ["kind", "track"] {
            if !fields.is_given(name) {
                fields.missing(name);
            }
        }
        Self {
            kind: fields.choice("kind", &EditKind::WORDS),
            track: fields.integer("track", 0..=i64::MAX),
            name: fields.text("name", MAX_CHARS),
            team: fields.text("team", MAX_CHARS),
            other: fields.integer("other", 0..=i64::MAX),
            frame: fields.integer("frame", 0..=i64::MAX),
        }
    }
}

impl EditRequest {
    /// The edit, if it has what its kind needs.
    pub(super) fn edit(self) -> ApiResult<Edit> {
        let Self { kind, track, name, team, other, frame } = self;
        // Required, and checked while the body was read.
        let required =
            |name: &str| ApiError::invalid(vec![FieldError::new("body", name, "missing", "Field required")]);
        let track = track.ok_or_else(|| required("track"))?;
        let kind = kind.ok_or_else(|| required("kind"))?;
        // The schema cannot say which kind needs what.
        let lacks = |what| ApiError::new(StatusCode::CONFLICT, format!("an edit of this kind needs {what}"));
        let other = other.ok_or_else(|| lacks("`other`"));
        let frame = frame.ok_or_else(|| lacks("`frame`"));
        Ok(match kind {
            EditKind::Name => Edit::Name { track, name },
            EditKind::Team => Edit::Team { track, team },
            EditKind::Merge => Edit::Merge { track, into: other? },
            EditKind::Split => Edit::Split { track, frame: frame?, new: 0 },
            EditKind::Swap => Edit::Swap { track, with: other?, frame: frame? },
            EditKind::Delete => Edit::Delete { track },
        })
    }
}
