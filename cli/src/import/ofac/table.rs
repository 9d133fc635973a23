//! The rows of one of OFAC's CSV files: no header, a number first, `-0- ` for nothing, a closing 0x1A.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};

use super::OfacError;

/// More than this in one record is no list: a stray quote has swallowed the file. The longest real record is near 2 KiB.
pub(super) const RECORD_MAX_BYTES: u64 = 1024 * 1024;

const END_MARK: u8 = 0x1A;

/// A file of the set, read row by row.
pub(super) struct Table {
    file: PathBuf,
    reader: csv::Reader<Allowance<BufReader<File>>>,
    record: csv::ByteRecord,
    columns: usize,
    ended: bool,
}

impl Table {
    /// Opens a file of rows of that many columns.
    pub(super) fn open(file: &Path, columns: usize) -> Result<Self, OfacError> {
        let failed = |source| OfacError::Read { file: file.to_owned(), source };
        let mut input = BufReader::new(File::open(file).map_err(failed)?);
        let start = input.fill_buf().map_err(failed)?;
        let bom = if start.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
        if start.iter().skip(bom).find(|b| !b.is_ascii_whitespace()) == Some(&b'<') {
            return Err(OfacError::Markup { file: file.to_owned() });
        }
        input.consume(bom);
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            // Not CRLF: the reader would leave each LF to the next record and count lines wrong.
            .terminator(csv::Terminator::Any(b'\n'))
            .from_reader(Allowance { inner: input, bytes: RECORD_MAX_BYTES });
        Ok(Self { file: file.to_owned(), reader, record: csv::ByteRecord::new(), columns, ended: false })
    }

    /// The file's path.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// The next row, or nothing at the end.
    pub(super) fn next_row(&mut self) -> Result<Option<Row<'_>>, OfacError> {
        loop {
            self.reader.get_mut().bytes = RECORD_MAX_BYTES;
            let at = self.reader.position().line();
            match self.reader.read_byte_record(&mut self.record) {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(error) => return Err(self.failure(error, at)),
            }
            let line = self.record.position().map_or(at, csv::Position::line);
            if let Some(blank) = self.record.get(0).filter(|field| self.record.len() == 1 && is_blank(field)) {
                self.ended |= blank.contains(&END_MARK);
                continue;
            }
            if self.ended {
                return Err(OfacError::AfterEnd { file: self.file.clone(), line });
            }
            break Ok(Some(self.row(line)?));
        }
    }

    fn row(&self, line: u64) -> Result<Row<'_>, OfacError> {
        let first = self.record.get(0).unwrap_or_default();
        let Some(uid) = std::str::from_utf8(first).ok().and_then(|text| text.trim().parse().ok()) else {
            let found = String::from_utf8_lossy(first).chars().take(40).collect::<String>().escape_debug().to_string();
            return Err(OfacError::Number { file: self.file.clone(), line, found });
        };
        if self.record.len() != self.columns {
            let (expected, found) = (self.columns, self.record.len());
            return Err(OfacError::Columns { file: self.file.clone(), line, expected, found });
        }
        Ok(Row { uid, line, record: &self.record })
    }

    fn failure(&self, error: csv::Error, line: u64) -> OfacError {
        match error.into_kind() {
            csv::ErrorKind::Io(source) if source.kind() == io::ErrorKind::FileTooLarge => {
                OfacError::RecordTooLong { file: self.file.clone(), line }
            }
            csv::ErrorKind::Io(source) => OfacError::Read { file: self.file.clone(), source },
            kind => OfacError::Read { file: self.file.clone(), source: io::Error::other(format!("{kind:?}")) },
        }
    }
}

fn is_blank(field: &[u8]) -> bool {
    field.iter().all(|b| *b == END_MARK || b.is_ascii_whitespace())
}

/// One row, its number read.
pub(super) struct Row<'a> {
    /// The subject's number in the list.
    pub(super) uid: u64,
    /// Where it begins in the file.
    pub(super) line: u64,
    record: &'a csv::ByteRecord,
}

impl Row<'_> {
    /// A column's text, or nothing where the source has `-0- `.
    pub(super) fn text(&self, column: usize) -> Option<String> {
        let text = self.raw(column);
        let text = text.trim();
        // The last null of a file that was cut at its end reads `-0`.
        (!text.is_empty() && text != "-0-" && text != "-0").then(|| text.to_owned())
    }

    /// A column as it stands, spaces included: remarks go on in another file in the middle of a word.
    pub(super) fn raw(&self, column: usize) -> String {
        decode(self.record.get(column).unwrap_or_default()).trim_end_matches(['\r', '\u{1A}']).to_owned()
    }
}

/// OFAC's files have been ASCII, Windows-1252 and UTF-8 over the years, and do not say which.
fn decode(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| windows_1252(*byte)).collect(),
    }
}

fn windows_1252(byte: u8) -> char {
    const HIGH: [char; 32] = [
        '€', '\u{FFFD}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{FFFD}', 'Ž', '\u{FFFD}',
        '\u{FFFD}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{FFFD}', 'ž', 'Ÿ',
    ];
    match byte {
        0x80..=0x9F => HIGH.get(usize::from(byte - 0x80)).copied().unwrap_or('\u{FFFD}'),
        _ => char::from(byte),
    }
}

/// Lets so many bytes through, and then fails: bounds what one record can make the CSV reader hold.
struct Allowance<R> {
    inner: R,
    bytes: u64,
}

impl<R: Read> Read for Allowance<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.bytes == 0 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let most = usize::try_from(self.bytes).unwrap_or(usize::MAX).min(buf.len());
        let read = self.inner.read(buf.get_mut(..most).unwrap_or_default())?;
        self.bytes = self.bytes.saturating_sub(read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_encoding_ofac_has_used() {
        assert_eq!(decode("JOSÉ".as_bytes()), "JOSÉ");
        assert_eq!(decode(b"JOS\xC9 \x93X\x94 \x80"), "JOSÉ “X” €");
        assert_eq!(decode(b"\x81\xFF"), "\u{FFFD}ÿ");
    }
}
