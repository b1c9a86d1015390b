//! Writing staged detections, and making them visible.
//!
//! Rows and tracks are written in short transactions. The last transaction only names them, whatever their number: what it
//! relies on is read before it, and read again if another program changed the database meanwhile.

use rusqlite::Connection;

use super::staging::{Staged, StagedReader};
use super::{ImportJob, ImportOutcome, ImportReport, ImportRow, ResultsSummary};
use super::{complete, count, elsewhere, import_of, insert, report, upsert};
use crate::error::{AtDatabase as _, Result, StoreError};
use crate::library::{Library, data_version};
use crate::writes::{self, IdRange, Pace, RowState};
use crate::{tracks, videos};

/// How often the database is surveyed outside of the last transaction. If other programs change it each time, it is
/// surveyed inside, where they wait.
const MAX_SURVEYS: u32 = 3;

/// An import whose detections are staged.
pub(super) struct Import<'a> {
    library: &'a Library,
    job: &'a ImportJob,
    staged: &'a Staged,
    summary: ResultsSummary,
    /// The import that it replaces.
    prior: Option<ImportRow>,
    /// Number of rows that it replaces.
    n_replaced: Option<i64>,
}

/// What the last transaction relies on.
struct Survey {
    /// Of the database, when this was read.
    data_version: i64,
    /// The rows that another program has imported from the same results.
    theirs: Option<Vec<IdRange>>,
    /// Of the rows that this import wrote.
    ours: Option<RowState>,
}

/// How the last transaction ended.
enum Ending {
    /// The rows of this import are visible.
    Ours,
    /// Those of another program are, from the same results.
    Theirs,
    /// Another program changed the database since the survey: nothing was done.
    Outdated,
    /// The rows of another program, instead of which none were written, are gone: nothing was done.
    Missing,
}

impl<'a> Import<'a> {
    pub(super) fn new(
        library: &'a Library,
        job: &'a ImportJob,
        staged: &'a Staged,
        summary: ResultsSummary,
        prior: Option<ImportRow>,
    ) -> Result<Self> {
        let n_replaced = prior.as_ref().map(|prior| count(&library.conn, prior)).transpose()?;
        Ok(Self { library, job, staged, summary, prior, n_replaced })
    }

    pub(super) fn run(self) -> Result<ImportReport> {
        let mut write_id = None;
        let ended = self.write_and_finish(&mut write_id);
        if let (Err(_), Some(write_id)) = (&ended, write_id) {
            let _ = self.library.write(|conn| writes::abandon(conn, write_id));
        }
        let is_ours = ended.inspect_err(|_| drop(writes::collect_garbage(self.library)))?;
        self.library.empty_log();
        writes::collect_garbage(self.library)?;
        if !is_ours {
            tracks::complete_older_imports(self.library)?;
        }
        let outcome = match self.n_replaced {
            _ if !is_ours => ImportOutcome::AlreadyImported,
            Some(n_removed) => ImportOutcome::Replaced { n_removed },
            None => ImportOutcome::Imported,
        };
        Ok(report(self.job, outcome, self.staged.n as i64, self.summary.frames_processed))
    }

    /// Returns whether the visible rows are those of this import. `write_id` becomes its write, once it has one.
    fn write_and_finish(&self, write_id: &mut Option<i64>) -> Result<bool> {
        let mut pace = Pace::new();
        let mut survey = self.survey(None, None)?;
        for n_surveys in 1.. {
            if survey.theirs.is_none() && write_id.is_none() {
                // Nothing is written next to rows that another program has just committed.
                let expected = (n_surveys < MAX_SURVEYS).then_some(survey.data_version);
                self.write_all(write_id, &mut pace, expected)?;
                survey = self.survey(*write_id, Some(&survey))?;
                if write_id.is_none() {
                    continue;
                }
            }
            pace.next();
            let ended = self.library.write(|conn| {
                if data_version(conn)? != survey.data_version {
                    if n_surveys < MAX_SURVEYS {
                        return Ok(Ending::Outdated);
                    }
                    survey = self.survey(*write_id, None)?;
                }
                self.finish(conn, *write_id, &survey)
            })?;
            match ended {
                Ending::Ours => return Ok(true),
                Ending::Theirs => return Ok(false),
                Ending::Outdated | Ending::Missing => survey = self.survey(*write_id, Some(&survey))?,
            }
        }
        Ok(false)
    }

    /// Reads what the last transaction relies on. `before`: an earlier survey, whose search is not repeated if nothing
    /// changed since.
    fn survey(&self, write_id: Option<i64>, before: Option<&Survey>) -> Result<Survey> {
        let (library, job) = (self.library, self.job);
        library.read_consistently(|| {
            let data_version = data_version(&library.conn)?;
            // If this job has rows here, another program did not insert them.
            let is_searched =
                before.is_some_and(|before| before.data_version == data_version && before.theirs.is_none());
            let theirs = match self.n_replaced.unwrap_or(0) == 0 && !is_searched {
                true => elsewhere::find(library, job.video_id, self.staged)?,
                false => None,
            };
            let read = |write_id| RowState::read(&library.conn, write_id, job.video_id);
            let ours = write_id.filter(|_| theirs.is_none()).map(read).transpose()?;
            Ok(Survey { data_version, theirs, ours })
        })
    }

    /// Writes all rows and tracks. Writes nothing if another connection has changed the database since its version was
    /// `expected`.
    fn write_all(&self, write_id: &mut Option<i64>, pace: &mut Pace, expected: Option<i64>) -> Result<()> {
        let _foreign_keys_off = match writes::referrers(&self.library.conn, "player_detections")?.is_empty() {
            true => Some(ForeignKeysOff::new(&self.library.conn)?),
            false => None,
        };
        let (mut rows, mut tracks) = (self.staged.read()?, self.staged.tracks.as_slice());
        loop {
            let n = pace.next() as usize;
            let is_last = rows.n_left as usize + tracks.len() <= n;
            let written = self.library.write(|conn| {
                if write_id.is_none() && expected.is_some() && expected != Some(data_version(conn)?) {
                    return Ok(None);
                }
                self.write_some(conn, *write_id, &mut rows, &mut tracks, n).map(Some)
            })?;
            *write_id = written;
            if is_last || written.is_none() {
                return Ok(());
            }
        }
    }

    /// Writes the next `n` rows or tracks, within the transaction of the caller. Returns the id of the write.
    fn write_some(
        &self,
        conn: &Connection,
        write_id: Option<i64>,
        rows: &mut StagedReader<'_>,
        tracks: &mut &[tracks::TrackSummary],
        n: usize,
    ) -> Result<i64> {
        let (library, job) = (self.library, self.job);
        let write_id = match write_id {
            Some(write_id) => write_id,
            None => {
                videos::register(conn, &library.app, job.video_id)?;
                writes::start(conn, &job.job_id, job.video_id)?
            }
        };
        self.check_alive(conn, write_id)?;
        let n_tracks = n.saturating_sub(rows.n_left as usize).min(tracks.len());
        writes::end_at_last_row(conn)?;
        if let Some(range) = insert::insert(conn, job.video_id, rows.by_ref().take(n))? {
            writes::add_range(conn, write_id, range)?;
        }
        let (now, later) = tracks.split_at(n_tracks);
        tracks::insert(conn, write_id, now)?;
        *tracks = later;
        Ok(write_id)
    }

    fn check_alive(&self, conn: &Connection, write_id: i64) -> Result<()> {
        writes::keep_alive(conn, write_id)?;
        match videos::is_registered(conn, &self.library.app, self.job.video_id)? {
            true => Ok(()),
            false => Err(StoreError::UnknownVideo(self.job.video_id)),
        }
    }

    /// Makes rows visible and completes the job, within the transaction of the caller. If another process imported the
    /// same results meanwhile, its rows stay and those of this import are abandoned.
    fn finish(&self, conn: &Connection, write_id: Option<i64>, survey: &Survey) -> Result<Ending> {
        let Self { job, staged, summary, .. } = self;
        let current = import_of(conn, &job.job_id)?;
        if current != self.prior && current.as_ref().is_some_and(|import| import.sha256 == job.sha256) {
            write_id.map_or(Ok(()), |write_id| writes::abandon(conn, write_id))?;
            return Ok(Ending::Theirs);
        }
        let (shown, state, ending) = match (&survey.theirs, write_id, survey.ours) {
            (Some(rows), _, _) => {
                write_id.map_or(Ok(()), |write_id| writes::abandon(conn, write_id))?;
                (self.adopt(conn, rows)?, None, Ending::Theirs)
            }
            (None, Some(write_id), Some(state)) => {
                self.check_alive(conn, write_id)?;
                self.check_complete(state)?;
                (write_id, Some(state), Ending::Ours)
            }
            (None, _, _) => return Ok(Ending::Missing),
        };
        if let Some(replaced) = current.and_then(|import| import.write_id) {
            writes::abandon(conn, replaced)?;
        }
        upsert(conn, job, shown, staged, state, summary.frames_processed)?;
        complete::complete(conn, &self.library.app, job, staged.n as i64, *summary)?;
        Ok(ending)
    }

    /// Makes a write of the rows of another program. Returns its id.
    fn adopt(&self, conn: &Connection, rows: &[IdRange]) -> Result<i64> {
        let (library, job) = (self.library, self.job);
        videos::register(conn, &library.app, job.video_id)?;
        let write_id = writes::start(conn, &job.job_id, job.video_id)?;
        rows.iter().try_for_each(|range| writes::add_range(conn, write_id, *range))?;
        Ok(write_id)
    }

    fn check_complete(&self, state: RowState) -> Result<()> {
        match state.n == self.staged.n as i64 {
            true => Ok(()),
            false => Err(StoreError::Conflict(format!(
                "detections of job {} were removed while it was imported; import it again",
                self.job.job_id
            ))),
        }
    }
}

/// Switches foreign keys off until it is dropped.
struct ForeignKeysOff<'a>(&'a Connection);

impl<'a> ForeignKeysOff<'a> {
    fn new(conn: &'a Connection) -> Result<Self> {
        conn.execute_batch("PRAGMA foreign_keys = OFF").at(conn)?;
        Ok(Self(conn))
    }
}

impl Drop for ForeignKeysOff<'_> {
    fn drop(&mut self) {
        // Cannot fail, because the transaction has ended.
        let _ = self.0.execute_batch("PRAGMA foreign_keys = ON");
    }
}
