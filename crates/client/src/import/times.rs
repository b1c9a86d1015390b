//! Times of a manifest that the library cannot store as they are.

use jobs::manifest::Manifest;

/// The times of a manifest that no database of the analyzer app can have, as messages for the user.
pub(super) fn unusual(manifest: &Manifest) -> Vec<String> {
    let times = [
        ("created_at", Some(&manifest.created_at)),
        ("started_at", manifest.started_at.as_ref()),
        ("completed_at", manifest.completed_at.as_ref()),
    ];
    let unusual = times.into_iter().filter_map(|(name, at)| Some((name, at?)));
    unusual
        .filter(|(_, at)| !store::is_storable_time(at.moment()))
        .map(|(name, at)| {
            format!(
                "{name} is {}, outside the years 1 to 9999; the library has the nearest time in them",
                at.as_str()
            )
        })
        .collect()
}
