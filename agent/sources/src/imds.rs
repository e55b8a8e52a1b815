//! The instance metadata service: this build cannot ask it.

/// A session with the instance metadata service, version 2.
pub struct Imds;

impl Imds {
    /// Asks for a session token.
    pub fn connect() -> Result<Imds, String> {
        Err("this build has no metadata client".into())
    }

    /// The answer for `path`, at most `max_bytes`; `None` where there is none (404).
    pub fn get(&self, _path: &str, _max_bytes: usize) -> Result<Option<Vec<u8>>, String> {
        Err("this build has no metadata client".into())
    }
}
