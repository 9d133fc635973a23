//! Whether a record may go to a party.
