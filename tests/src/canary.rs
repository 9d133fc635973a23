//! Words that nobody would write by chance, planted where secrets are, and looked for where they must not turn up, in every form
//! that a program might give them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::seed::{Dice, NoSeed};

/// Of the word: enough that chance never makes it, in part of a base64 text either.
const CORE_CHARS: usize = 20;
const LETTERS: &[u8; 32] = b"ABCDEFGHJKMNPQRSTVWXYZabcdefghjk";

/// A word of one test's own. What is planted is the word and where it was planted.
#[derive(Debug, Clone)]
pub struct Canary {
    word: String,
    forms: Vec<(&'static str, String)>,
}

/// Where one was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The file, or what a text was called.
    pub place: PathBuf,
    /// In which form.
    pub form: &'static str,
    /// What stands around it.
    pub around: String,
}

impl Canary {
    /// A word that was never planted.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn fresh() -> Result<Self, NoSeed> {
        let mut dice = Dice::fresh()?;
        let letter = |n: usize| char::from(LETTERS.get(n).copied().unwrap_or(b'A'));
        let word: String = (0..CORE_CHARS).map(|_| letter(dice.below(LETTERS.len()))).collect();
        let forms = forms(word.as_bytes());
        Ok(Self { word, forms })
    }

    /// The word, to be planted in a place.
    pub fn planted(&self, place: &str) -> String {
        format!("{}-{place}", self.word)
    }

    /// Every form of the word in which it is looked for.
    pub fn forms(&self) -> &[(&'static str, String)] {
        &self.forms
    }

    /// Looks for it in bytes that are called so.
    pub fn sightings(&self, place: &Path, bytes: &[u8]) -> Vec<Sighting> {
        // Every form is ASCII, which stays as it is whatever stands around it.
        let text = String::from_utf8_lossy(bytes);
        let seen = |(form, needle): &(&'static str, String)| {
            let at = text.find(needle.as_str())?;
            let around: String = text.get(at..)?.chars().take(120).filter(|c| !c.is_control()).collect();
            Some(Sighting { place: place.to_owned(), form, around })
        };
        self.forms.iter().filter_map(seen).collect()
    }

    /// Looks for it in every file of a folder and of the folders in it. A file that goes away meanwhile was none.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn sightings_in(&self, folder: &Path) -> io::Result<Vec<Sighting>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            found.extend(match (entry.file_type()?.is_dir(), entry.path()) {
                (true, path) => self.sightings_in(&path)?,
                (false, path) => self.sightings(&path, &fs::read(&path).unwrap_or_default()),
            });
        }
        Ok(found)
    }
}

fn forms(word: &[u8]) -> Vec<(&'static str, String)> {
    let each = |write: &dyn Fn(&mut String, u8)| {
        word.iter().fold(String::new(), |mut text, byte| {
            write(&mut text, *byte);
            text
        })
    };
    let mut forms = vec![
        ("plain", each(&|text, byte| text.push(char::from(byte)))),
        ("UTF-16, little end first", each(&|text, byte| text.extend([char::from(byte), '\0']))),
        ("UTF-16, big end first", each(&|text, byte| text.extend(['\0', char::from(byte)]))),
        ("hexadecimal", each(&|text, byte| text.push_str(&format!("{byte:02x}")))),
        ("hexadecimal in capitals", each(&|text, byte| text.push_str(&format!("{byte:02X}")))),
        ("percent-encoded", each(&|text, byte| text.push_str(&format!("%{byte:02x}")))),
        ("percent-encoded in capitals", each(&|text, byte| text.push_str(&format!("%{byte:02X}")))),
        ("escaped as in JSON", each(&|text, byte| text.push_str(&format!("\\u{byte:04x}")))),
        ("escaped as in C", each(&|text, byte| text.push_str(&format!("\\x{byte:02x}")))),
        ("bytes in a list", word.iter().map(u8::to_string).collect::<Vec<_>>().join(", ")),
        ("bytes in a close list", word.iter().map(u8::to_string).collect::<Vec<_>>().join(",")),
        ("reversed", word.iter().rev().map(|byte| char::from(*byte)).collect()),
    ];
    forms.extend((0..3).map(|before| ("base64", base64(word, before))));
    forms
}

/// Of the base64 text of `before` other bytes, the word, and more: what the word alone decides on. Letters without accents make
/// neither `+` nor `/`, so that both alphabets are meant.
fn base64(word: &[u8], before: usize) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bytes = [&vec![0; before], word].concat();
    let bit = |n: usize| bytes.get(n / 8).is_some_and(|byte| byte >> (7 - n % 8) & 1 == 1);
    let first = (before * 8).div_ceil(6);
    let digit = |n: usize| (0..6).fold(0, |value, at| value << 1 | usize::from(bit(n * 6 + at)));
    (first..bytes.len() * 8 / 6).map(|n| char::from(ALPHABET.get(digit(n)).copied().unwrap_or(b'='))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_seen_in_every_form_whatever_stands_around_it() {
        let canary = Canary::fresh().unwrap();
        for (form, text) in canary.forms() {
            let hidden = [b"\xff\xfe\x00before \xc3".as_slice(), text.as_bytes(), b"\x80after"].concat();
            let seen = canary.sightings(Path::new("here"), &hidden);
            assert!(seen.iter().any(|s| s.form == *form && s.place == Path::new("here")), "{form}: {seen:?}");
        }
        assert!(canary.sightings(Path::new("here"), Canary::fresh().unwrap().planted("x").as_bytes()).is_empty());
    }

    #[test]
    fn base64_is_what_others_write() {
        // RFC 4648: "foobar" is Zm9vYmFy; after one zero it is AGZvb2Jhcg==, after two AABmb29iYXI=.
        assert_eq!(base64(b"foobar", 0), "Zm9vYmFy");
        assert_eq!(base64(b"foobar", 1), "Zvb2Jhc");
        assert_eq!(base64(b"foobar", 2), "mb29iYX");
    }
}
