//! Corrections of tracks: a log of edits for each set of detections, which themselves never change.
//!
//! The log belongs to the detections of one job, or to those that other programs inserted into a video. Edits that are undone
//! stay in it until another edit is made. [`Correction`] is the combined effect of the active edits.

mod correction;

use std::collections::BTreeMap;

use rusqlite::{Connection, params, params_from_iter};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

pub(crate) use self::correction::Correction;
pub use self::correction::TrackLabel;
use crate::error::{AtDatabase as _, Result, StoreError};
use crate::library::Library;
use crate::scope::{DetectionScope, ScopeRows};
use crate::tracks::TrackSummary;
use crate::{timestamp, videos};

/// Length limit of the name of a track or a team.
const MAX_NAME_CHARS: usize = 100;

/// One correction. Tracks are named by the ids that they have after all earlier edits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Edit {
    /// Gives a track a name, such as that of a player; `None` takes it away.
    Name {
        /// The track.
        track: i64,
        /// Its name.
        name: Option<String>,
    },
    /// Puts a track into a team; `None` takes it out.
    Team {
        /// The track.
        track: i64,
        /// Name of the team.
        team: Option<String>,
    },
    /// Makes a track a part of another one. They must not be on one frame together.
    Merge {
        /// The track that ends to be one of its own.
        track: i64,
        /// The track that it becomes a part of.
        into: i64,
    },
    /// Makes what a track has from a frame on a track of its own.
    Split {
        /// The track.
        track: i64,
        /// First frame of the new track.
        frame: i64,
        /// Id of the new track; chosen when the edit is added.
        #[serde(default)]
        new: i64,
    },
    /// Exchanges two tracks from a frame on.
    Swap {
        /// One of them.
        track: i64,
        /// The other one.
        with: i64,
        /// First frame on which they are exchanged.
        frame: i64,
    },
    /// Removes a track.
    Delete {
        /// The track.
        track: i64,
    },
}

impl Edit {
    /// The tracks that must be there.
    fn tracks(&self) -> [Option<i64>; 2] {
        match *self {
            Self::Name { track, .. }
            | Self::Team { track, .. }
            | Self::Split { track, .. }
            | Self::Delete { track } => [Some(track), None],
            Self::Merge { track, into: other } | Self::Swap { track, with: other, .. } => {
                [Some(track), Some(other)]
            }
        }
    }
}

/// An edit in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedEdit {
    /// Its number in the log.
    pub id: i64,
    /// When it was made.
    pub made_at: Option<OffsetDateTime>,
    /// What it does.
    pub edit: Edit,
    /// Whether it was undone.
    pub is_undone: bool,
    /// Why it has no effect: the tracks are not those that it was made for, because other results were imported.
    pub problem: Option<String>,
}

/// The edits of one set of detections, in the order in which they were made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EditLog {
    /// Those that are active, then those that were undone.
    pub edits: Vec<LoggedEdit>,
}

impl EditLog {
    fn has_active(&self) -> bool {
        self.edits.iter().any(|logged| !logged.is_undone)
    }

    /// Applies the active edits to these tracks. One that does not fit them is left out, and gets its `problem`.
    fn apply(&mut self, raw: &[TrackSummary]) -> Correction {
        let is_raw = |id: i64| raw.binary_search_by_key(&id, |track| track.track_id).is_ok();
        let mut correction = Correction::default();
        for logged in self.edits.iter_mut().filter(|logged| !logged.is_undone) {
            let tracks = correction.extents(raw);
            let missing = logged.edit.tracks().into_iter().flatten().find(|id| !tracks.contains_key(id));
            logged.problem = match (missing, &logged.edit) {
                (Some(id), _) => Some(format!("there is no track {id}")),
                (None, Edit::Split { new, .. }) if is_raw(*new) => {
                    Some(format!("track {new} is another one"))
                }
                _ => None,
            };
            if logged.problem.is_none() {
                correction.apply(&logged.edit);
            }
        }
        correction
    }

    /// Applies the active edits to tracks that are not known.
    fn apply_unchecked(&self) -> Correction {
        let mut correction = Correction::default();
        let active = self.edits.iter().filter(|logged| !logged.is_undone);
        active.for_each(|logged| correction.apply(&logged.edit));
        correction
    }
}

/// The log of a set of detections: its video, and its job or an empty text.
struct LogKey {
    video_id: i64,
    job_id: String,
}

impl LogKey {
    fn of(rows: &ScopeRows, scope: DetectionScope<'_>) -> Self {
        match (&rows.import, scope) {
            (Some(import), _) => Self { video_id: import.video_id, job_id: import.job_id.clone() },
            (None, DetectionScope::Video(video_id)) => Self { video_id, job_id: String::new() },
            // `Library::rows` returns the import of a job, or nothing.
            (None, DetectionScope::Job(id)) => Self { video_id: -1, job_id: id.to_owned() },
        }
    }
}

impl Library {
    /// The edits of a set of detections. Empty for an unknown one.
    ///
    /// # Errors
    /// [`StoreError::BadValue`] for an edit that this version does not know.
    pub fn edits(&self, scope: DetectionScope<'_>) -> Result<EditLog> {
        self.read_consistently(|| {
            let Some(rows) = self.rows(scope)? else { return Ok(EditLog::default()) };
            let mut log = read_log(&self.conn, &LogKey::of(&rows, scope))?;
            if !log.edits.is_empty() {
                log.apply(&self.tracks(&rows)?.tracks);
            }
            Ok(log)
        })
    }

    /// Names and teams of tracks, by the ids of the corrected view.
    ///
    /// # Errors
    /// As for [`Library::edits`].
    pub fn track_labels(&self, scope: DetectionScope<'_>) -> Result<BTreeMap<i64, TrackLabel>> {
        self.read_consistently(|| {
            let Some(rows) = self.rows(scope)? else { return Ok(BTreeMap::new()) };
            Ok(self.correction(&rows, scope)?.map(Correction::into_labels).unwrap_or_default())
        })
    }

    /// Adds an edit to the log. Edits that were undone are dropped from it.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if it does not fit the tracks, with the reason; [`StoreError::BadInput`] for an invalid name;
    /// [`StoreError::UnknownVideo`] or [`StoreError::UnknownJob`].
    pub fn add_edit(&self, scope: DetectionScope<'_>, edit: &Edit, made_at: OffsetDateTime) -> Result<()> {
        let edit = with_trimmed_name(edit)?;
        self.write(|conn| {
            let (rows, key) = self.rows_to_edit(scope)?;
            let correction = self.correction(&rows, scope)?.unwrap_or_default();
            let edit = self.fitting(edit, &rows, &correction)?;
            videos::register(conn, &self.app, key.video_id)?;
            let sql = "DELETE FROM courtside_edits WHERE video_id = ?1 AND job_id = ?2 AND is_undone";
            conn.execute(sql, params![key.video_id, key.job_id]).at(conn)?;
            let text = serde_json::to_string(&edit).map_err(|e| StoreError::BadInput(e.to_string()))?;
            let sql = "INSERT INTO courtside_edits (video_id, job_id, edit, made_at, is_undone)
                VALUES (?1, ?2, ?3, ?4, 0)";
            conn.execute(sql, params![key.video_id, key.job_id, text, timestamp::to_text(made_at)])
                .at(conn)?;
            Ok(())
        })
    }

    /// Undoes the last edit that is active. Returns whether there was one.
    ///
    /// # Errors
    /// [`StoreError::UnknownVideo`] or [`StoreError::UnknownJob`].
    pub fn undo_edit(&self, scope: DetectionScope<'_>) -> Result<bool> {
        self.mark(scope, "SELECT max(id)", false)
    }

    /// Makes the first edit that was undone active again. Returns whether there was one.
    ///
    /// # Errors
    /// [`StoreError::UnknownVideo`] or [`StoreError::UnknownJob`].
    pub fn redo_edit(&self, scope: DetectionScope<'_>) -> Result<bool> {
        self.mark(scope, "SELECT min(id)", true)
    }

    /// Changes `is_undone` of the edit that `which` selects among those where it is `is_undone` now.
    fn mark(&self, scope: DetectionScope<'_>, which: &str, is_undone: bool) -> Result<bool> {
        self.write(|conn| {
            let (_, key) = self.rows_to_edit(scope)?;
            let sql = format!(
                "UPDATE courtside_edits SET is_undone = NOT is_undone WHERE id =
                    ({which} FROM courtside_edits WHERE video_id = ?1 AND job_id = ?2 AND is_undone = ?3)"
            );
            Ok(conn.execute(&sql, params![key.video_id, key.job_id, is_undone]).at(conn)? > 0)
        })
    }

    /// The combined effect of the edits of a set of detections; `None` without edits.
    pub(crate) fn correction(
        &self,
        rows: &ScopeRows,
        scope: DetectionScope<'_>,
    ) -> Result<Option<Correction>> {
        let mut log = read_log(&self.conn, &LogKey::of(rows, scope))?;
        if !log.has_active() {
            return Ok(None);
        }
        // Other results of a job may have been imported since. Rows of other programs are not read for this.
        Ok(Some(match rows.import {
            Some(_) => log.apply(&self.tracks(rows)?.tracks),
            None => log.apply_unchecked(),
        }))
    }

    fn rows_to_edit(&self, scope: DetectionScope<'_>) -> Result<(ScopeRows, LogKey)> {
        if let DetectionScope::Video(id) = scope
            && !videos::exists(&self.conn, id)?
        {
            return Err(StoreError::UnknownVideo(id));
        }
        let unknown = || match scope {
            DetectionScope::Job(id) => StoreError::UnknownJob(id.to_owned()),
            DetectionScope::Video(id) => StoreError::UnknownVideo(id),
        };
        let rows = self.rows(scope)?.ok_or_else(unknown)?;
        let key = LogKey::of(&rows, scope);
        Ok((rows, key))
    }

    /// The edit with what is chosen for it, if it fits the tracks as they are corrected now.
    fn fitting(&self, edit: Edit, rows: &ScopeRows, correction: &Correction) -> Result<Edit> {
        let raw = self.tracks(rows)?;
        let tracks = correction.extents(&raw.tracks);
        let extent = |track: i64| {
            let found = tracks.get(&track).copied();
            found.ok_or_else(|| StoreError::Conflict(format!("there is no track {track}")))
        };
        let differ = |a: i64, b: i64| match a == b {
            true => Err(StoreError::Conflict(format!("track {a} is the same track"))),
            false => Ok(()),
        };
        match edit {
            Edit::Name { track, .. } | Edit::Team { track, .. } | Edit::Delete { track } => {
                extent(track)?;
                Ok(edit)
            }
            Edit::Merge { track, into } => {
                differ(track, into)?;
                let (a, b) = (extent(track)?, extent(into)?);
                let both = (a.0.max(b.0), a.1.min(b.1));
                match self.frame_with_both(rows, correction, [track, into], both)? {
                    Some(frame) => Err(StoreError::Conflict(format!(
                        "tracks {track} and {into} are both on frame {frame}: they are two players"
                    ))),
                    None => Ok(edit),
                }
            }
            Edit::Split { track, frame, .. } => {
                let (first, last) = extent(track)?;
                if frame <= first || frame > last {
                    return Err(StoreError::Conflict(format!(
                        "track {track} is on frames {first} to {last}: it can be split at frames {} to {last}",
                        first + 1
                    )));
                }
                let highest = raw.tracks.iter().map(|track| track.track_id).max();
                let new = highest.max(correction.highest_id()).unwrap_or(0) + 1;
                Ok(Edit::Split { track, frame, new })
            }
            Edit::Swap { track, with, frame } => {
                differ(track, with)?;
                let last = extent(track)?.1.max(extent(with)?.1);
                if frame > last {
                    return Err(StoreError::Conflict(format!(
                        "tracks {track} and {with} end at frame {last}, before frame {frame}"
                    )));
                }
                Ok(edit)
            }
        }
    }

    /// The first frame on which both tracks are, within a range of frames.
    fn frame_with_both(
        &self,
        rows: &ScopeRows,
        correction: &Correction,
        tracks: [i64; 2],
        (first, last): (i64, i64),
    ) -> Result<Option<i64>> {
        if first > last {
            return Ok(None);
        }
        let conn = &self.conn;
        let (condition, mut params) = rows.condition(conn)?;
        params.extend([first.into(), last.into()]);
        let sql = format!(
            "SELECT frame_number, tracking_id FROM player_detections
             WHERE {condition} AND frame_number >= ? AND frame_number <= ? ORDER BY frame_number"
        );
        let mut statement = conn.prepare_cached(&sql).at(conn)?;
        let mut rows = statement.query(params_from_iter(params)).at(conn)?;
        let mut seen = [-1; 2];
        while let Some(row) = rows.next().at(conn)? {
            let (frame, raw): (i64, i64) = (row.get(0).at(conn)?, row.get(1).at(conn)?);
            let id = correction.track(frame, raw);
            if let Some(i) = tracks.iter().position(|track| Some(*track) == id) {
                seen[i] = frame;
            }
            if seen == [frame; 2] {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }
}

fn read_log(conn: &Connection, key: &LogKey) -> Result<EditLog> {
    let sql = "SELECT id, edit, made_at, is_undone FROM courtside_edits WHERE video_id = ?1 AND job_id = ?2 ORDER BY id";
    let mut statement = conn.prepare_cached(sql).at(conn)?;
    let mut rows = statement.query(params![key.video_id, key.job_id]).at(conn)?;
    let mut edits = Vec::new();
    while let Some(row) = rows.next().at(conn)? {
        let id = row.get(0).at(conn)?;
        let text: String = row.get(1).at(conn)?;
        let edit = serde_json::from_str(&text).map_err(|error| StoreError::BadValue {
            path: conn.path().unwrap_or_default().into(),
            detail: format!(
                "edit {id} in courtside_edits: {error}; a newer version of courtside may have made it"
            ),
        })?;
        let made_at = row.get::<_, Option<String>>(2).at(conn)?.and_then(|text| timestamp::from_text(&text));
        edits.push(LoggedEdit { id, made_at, edit, is_undone: row.get(3).at(conn)?, problem: None });
    }
    Ok(EditLog { edits })
}

/// The edit without white space around its name. An empty name becomes `None`.
fn with_trimmed_name(edit: &Edit) -> Result<Edit> {
    let checked = |name: &Option<String>| -> Result<Option<String>> {
        let name = name.as_deref().map(str::trim).filter(|name| !name.is_empty());
        match name {
            Some(name) if name.chars().count() > MAX_NAME_CHARS => {
                Err(StoreError::BadInput(format!("a name has at most {MAX_NAME_CHARS} characters")))
            }
            name => Ok(name.map(str::to_owned)),
        }
    };
    Ok(match edit {
        Edit::Name { track, name } => Edit::Name { track: *track, name: checked(name)? },
        Edit::Team { track, team } => Edit::Team { track: *track, team: checked(team)? },
        other => other.clone(),
    })
}
