//! A small list in OFAC's format, all of it invented: for the demonstration, for trying the importer, and for tests.

use std::io;
use std::path::Path;

/// The research centre that the others are linked to; its weak alias stands only in the remarks.
pub const CENTRE: u64 = 900_001;
/// A person: three years of birth, aliases, a passport, an address row of nulls.
pub const GENERAL: u64 = 900_002;
/// A factory: an address, contacts, a registration.
pub const FACTORY: u64 = 900_003;
/// A person: a range of birth dates, several nationalities, a region for a country.
pub const BUYER: u64 = 900_004;
/// A person whose remarks go on in `sdn_comments.csv` in the middle of a word.
pub const FINANCIER: u64 = 900_005;
/// A ship, with the fields that only ships have.
pub const SHIP: u64 = 900_006;

/// The files by name, byte for byte as OFAC would publish them: CRLF, a closing 0x1A.
pub const FILES: [(&str, &[u8]); 4] = [
    ("sdn.csv", include_bytes!("../../../samples/ofac/sdn.csv")),
    ("alt.csv", include_bytes!("../../../samples/ofac/alt.csv")),
    ("add.csv", include_bytes!("../../../samples/ofac/add.csv")),
    ("sdn_comments.csv", include_bytes!("../../../samples/ofac/sdn_comments.csv")),
];

/// Writes the files into a folder that exists.
///
/// # Errors
/// A file cannot be written.
pub fn write(dir: &Path) -> io::Result<()> {
    FILES.into_iter().try_for_each(|(name, bytes)| std::fs::write(dir.join(name), bytes))
}
