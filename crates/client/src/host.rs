//! The name of this machine.

/// Name of this machine, for messages and manifests.
pub fn host_name() -> Option<String> {
    let from_file = || std::fs::read_to_string("/etc/hostname").ok();
    std::env::var("HOSTNAME").ok().or_else(from_file).map(|n| n.trim().to_owned()).filter(|n| !n.is_empty())
}
