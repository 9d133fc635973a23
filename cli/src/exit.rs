//! What the command's exit code says; scripts rely on the numbers.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exit {
    /// It did what was asked.
    Ok = 0,
    /// It failed for a reason that no other code names.
    Error = 1,
    /// The command line does not make sense.
    Usage = 2,
    /// What was asked for is not there, or not to be seen.
    NotFound = 3,
    /// The node does not know who is asking, or was not reached as itself.
    NotAuthenticated = 4,
    /// The role of the certificate may not do this.
    RoleMayNot = 5,
    /// It contradicts how things stand: changed since, done already, too late.
    Conflict = 6,
    /// Too few members' nodes reach one another to decide anything.
    NoQuorum = 7,
    /// A list, a log or a signature did not prove what it claims.
    VerificationFailed = 8,
    /// Two things that were compared differ.
    Different = 9,
}

impl Exit {
    /// The number that the shell sees.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
