//! The body of a new edit.

use store::Edit;
use utoipa::ToSchema;

use crate::api_error::{ApiError, ApiResult, FieldError};
use crate::extract::fields::{Fields, FromFields};
use crate::shapes::edit::EditKind;

/// Characters of a name or a team that are read; the library's limit is lower, and has a better message.
const MAX_CHARS: usize = 500;

/// An edit.
#[derive(Debug, ToSchema)]
pub(crate) struct EditRequest {
    /// What to do.
    #[schema(inline, required)]
    kind: Option<EditKind>,
    /// The track to edit.
    #[schema(required)]
    track: Option<i64>,
    /// For `name`: the new name; null takes it away.
    name: Option<String>,
    /// For `team`: the team; null takes the track out of its team.
    team: Option<String>,
    /// For `merge` the track that this one becomes a part of, for `swap` the one to exchange it with.
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
            track: fields.integer("track", i64::MIN + 1..=i64::MAX),
            name: fields.text("name", MAX_CHARS),
            team: fields.text("team", MAX_CHARS),
            other: fields.integer("other", i64::MIN + 1..=i64::MAX),
            frame: fields.integer("frame", 0..=i64::MAX),
        }
    }
}

impl EditRequest {
    /// The edit, if it has what its kind needs.
    pub(super) fn edit(self) -> ApiResult<Edit> {
        let Self { kind, track, name, team, other, frame } = self;
        let missing =
            |name: &str| ApiError::invalid(vec![FieldError::new("body", name, "missing", "Field required")]);
        let track = track.ok_or_else(|| missing("track"))?;
        let other = other.ok_or_else(|| missing("other"));
        let frame = frame.ok_or_else(|| missing("frame"));
        Ok(match kind.ok_or_else(|| missing("kind"))? {
            EditKind::Name => Edit::Name { track, name },
            EditKind::Team => Edit::Team { track, team },
            EditKind::Merge => Edit::Merge { track, into: other? },
            EditKind::Split => Edit::Split { track, frame: frame?, new: 0 },
            EditKind::Swap => Edit::Swap { track, with: other?, frame: frame? },
            EditKind::Delete => Edit::Delete { track },
        })
    }
}
