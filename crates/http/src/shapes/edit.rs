//! Bodies about corrections of tracks.

use serde::Serialize;
use store::{Edit, EditLog, LoggedEdit};
use utoipa::ToSchema;

use super::time::rfc3339;

/// The edits of the tracks of a video.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EditsBody {
    /// Id of the video in the library.
    video_id: i64,
    /// The job whose tracks are edited; null for those of another program.
    #[schema(required)]
    job_id: Option<String>,
    /// Whether there is an edit to undo.
    can_undo: bool,
    /// Whether there is an edit to redo.
    can_redo: bool,
    /// The edits in the order in which they were made, then those that were undone.
    edits: Vec<EditBody>,
}

/// What an edit does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EditKind {
    Name,
    Team,
    Merge,
    Split,
    Swap,
    Delete,
}

impl EditKind {
    /// Every kind with its serialized name.
    pub(crate) const WORDS: [(&str, Self); 6] = [
        ("name", Self::Name),
        ("team", Self::Team),
        ("merge", Self::Merge),
        ("split", Self::Split),
        ("swap", Self::Swap),
        ("delete", Self::Delete),
    ];
}

/// An edit.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EditBody {
    /// Its number.
    id: i64,
    /// When it was made, RFC 3339.
    #[schema(required)]
    made_at: Option<String>,
    /// Whether it was undone.
    is_undone: bool,
    /// Why it has no effect: other results were imported since it was made.
    #[schema(required)]
    problem: Option<String>,
    kind: EditKind,
    /// The edited track.
    track: i64,
    /// For `name`: the name.
    #[schema(required)]
    name: Option<String>,
    /// For `team`: the team.
    #[schema(required)]
    team: Option<String>,
    /// For `merge` and `swap`: the other track. For `split`: the new one.
    #[schema(required)]
    other: Option<i64>,
    /// For `split` and `swap`: the first frame that it changes.
    #[schema(required)]
    frame: Option<i64>,
}

impl EditsBody {
    pub(crate) fn new(video_id: i64, job_id: Option<String>, log: EditLog) -> Self {
        let has = |is_undone| log.edits.iter().any(|logged| logged.is_undone == is_undone);
        Self {
            video_id,
            job_id,
            can_undo: has(false),
            can_redo: has(true),
            edits: log.edits.into_iter().map(EditBody::from).collect(),
        }
    }
}

impl From<LoggedEdit> for EditBody {
    fn from(logged: LoggedEdit) -> Self {
        let LoggedEdit { id, made_at, edit, is_undone, problem } = logged;
        let body = |kind, track| Self {
            id,
            made_at: made_at.map(rfc3339),
            is_undone,
            problem,
            kind,
            track,
            name: None,
            team: None,
            other: None,
            frame: None,
        };
        match edit {
            Edit::Name { track, name } => Self { name, ..body(EditKind::Name, track) },
            Edit::Team { track, team } => Self { team, ..body(EditKind::Team, track) },
            Edit::Merge { track, into } => Self { other: Some(into), ..body(EditKind::Merge, track) },
            Edit::Split { track, frame, new } => {
                Self { other: Some(new), frame: Some(frame), ..body(EditKind::Split, track) }
            }
            Edit::Swap { track, with, frame } => {
                Self { other: Some(with), frame: Some(frame), ..body(EditKind::Swap, track) }
            }
            Edit::Delete { track } => body(EditKind::Delete, track),
        }
    }
}
