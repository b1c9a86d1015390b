//! What a client needs in order to connect to a server.

/// The location of a bucket and the credentials to access it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// URL of the server, `http://127.0.0.1:PORT`. The bucket is the first segment of each path.
    pub endpoint: String,
    /// Name of the bucket.
    pub bucket: String,
    /// Region that requests must be signed for.
    pub region: String,
    /// Access key id that requests must be signed with.
    pub access_key_id: String,
    /// Secret that belongs to the access key id. It protects only test data.
    pub secret_access_key: String,
}
