//! Official lists, read into drafts.
//!
//! An importer loses nothing: what a source says stands in a field of the subject or, as written, in its notes.

pub mod ofac;
