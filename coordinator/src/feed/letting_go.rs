//! Why the feed lets go of a viewer.

use tasuki_schemas::talk::Closing;

/// A reason, which the viewer is told before the connection ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum LetGo {
    /// The token is gone.
    Revoked,
    /// Too many want in at the same time.
    Crowded,
    /// It does not take what it is sent.
    Slow,
    /// What it missed cannot be read.
    Unreadable,
    /// The coordinator is about to stop.
    Stopping,
}

impl LetGo {
    /// What the viewer is told, with where to go on if that is known.
    pub(super) fn told(self, url: Option<String>) -> Closing {
        let (code, why) = match self {
            Self::Revoked => {
                ("revoked", "the token no longer opens what it opened; connect again, or ask for another token")
            }
            Self::Crowded => ("crowded", "too many viewers want in at the same time; connect again in a moment"),
            Self::Slow => ("slow", "what is sent is not taken fast enough; connect again with `since`"),
            Self::Unreadable => ("unreadable", "the history here cannot be read; connect to another coordinator"),
            Self::Stopping => ("stopping", "this coordinator is about to stop; connect to another one with `since`"),
        };
        Closing { code: code.to_owned(), why: why.to_owned(), url }
    }
}
