//! Names that look like a setting but are not one: with a typing error in an `R2_…` variable, jobs would silently go
//! to the local folder.

use super::variables::{Part, VARIABLES};

/// What the names of this program's settings begin with, as far as other programs rarely use it.
const PREFIXES: [&str; 5] = ["R2_", "COURTSIDE_", "SAM3_", "CLOUD_", "DATABASE_"];
/// Similarity of what follows, 0 to 1, from which a name is taken for a misspelt one.
const MIN_SIMILARITY: f64 = 0.55;

/// A name that is probably misspelt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misspelt {
    /// The name as it was written.
    pub name: String,
    /// The setting that was probably meant.
    pub meant: &'static str,
    /// Where it is: "the environment", or a line of a file.
    pub place: String,
}

impl Misspelt {
    /// Compares a name with those of the settings. `None` for a setting, and for a name of another program.
    pub fn find(name: &str, place: impl Into<String>) -> Option<Self> {
        if VARIABLES.iter().any(|variable| variable.name == name) {
            return None;
        }
        let (prefix, rest) = PREFIXES.iter().find_map(|prefix| Some((prefix, name.strip_prefix(prefix)?)))?;
        let similarity = |other: &str| match other.starts_with(&format!("{rest}_")) {
            true => 1.0,
            false => strsim::normalized_damerau_levenshtein(rest, other),
        };
        let settings = VARIABLES.iter().filter(|variable| variable.part != Part::Tests);
        let scored = settings.filter_map(|v| Some((similarity(v.name.strip_prefix(prefix)?), v.name)));
        let (score, meant) = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
        (score >= MIN_SIMILARITY).then(|| Self { name: name.to_owned(), meant, place: place.into() })
    }
}

impl std::fmt::Display for Misspelt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, meant, place } = self;
        write!(f, "warning: {name} in {place} is no setting and is ignored\n  hint: did you mean {meant}?")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_is_compared_with_the_settings() {
        for (name, meant) in [
            ("R2_ACOUNT_ID", "R2_ACCOUNT_ID"),
            ("R2_ACCOUNT", "R2_ACCOUNT_ID"),
            ("R2_ACCES_KEY_ID", "R2_ACCESS_KEY_ID"),
            ("R2_ACCESS_KEY", "R2_ACCESS_KEY_ID"),
            ("R2_SECRET_KEY", "R2_SECRET_ACCESS_KEY"),
            ("R2_SECRET_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY"),
            ("R2_ENDPOINT", "R2_ENDPOINT_URL"),
            ("R2_ENDPIONT_URL", "R2_ENDPOINT_URL"),
            ("R2_BUCKET", "R2_BUCKET_NAME"),
            ("SAM3_PROMT", "SAM3_PROMPT"),
            ("DATABASE_URI", "DATABASE_URL"),
            ("CLOUD_WORKER_POLL_INTERVALL", "CLOUD_WORKER_POLL_INTERVAL"),
        ] {
            let found = Misspelt::find(name, "x").map(|misspelt| misspelt.meant);
            assert_eq!(found, Some(meant), "{name}");
        }
    }

    #[test]
    fn settings_and_names_of_other_programs_are_not_misspelt() {
        for name in [
            "R2_ACCOUNT_ID",
            "R2_PUBLIC_URL",
            "R2_TOKEN_VALUE",
            "AWS_ACCESS_KEY_ID",
            "DATABASE_POOL_SIZE",
            "CLOUD_PROVIDER",
            "COURTSIDE_SIM_SEED",
            "r2_account_id",
            "PYTHONPATH",
        ] {
            assert_eq!(Misspelt::find(name, "x"), None, "{name}");
        }
    }
}
