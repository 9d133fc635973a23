//! JSON as it is signed: strict in, compact out.
//!
//! Signed documents are I-JSON (RFC 7493): no floats, no duplicate names, no integer above 2^53 - 1, and no field that
//! the reader does not know. What is signed are the exact bytes; nothing is ever re-encoded to be checked.

mod strict;

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{DeserializeOwned, Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use self::strict::Strict;

/// The largest integer that I-JSON carries exactly.
pub const MAX_INTEGER: u64 = (1 << 53) - 1;

/// Why bytes are not the document that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct InvalidJson {
    /// Where, as `subject.names[0].script`; `document` for the whole.
    pub path: String,
    /// What is wrong, and what was expected.
    pub problem: String,
}

/// Reads one document. Structs must carry `deny_unknown_fields`; their duplicate fields are refused by serde.
///
/// # Errors
/// Names the field and the problem.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, InvalidJson> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    // Where something is wrong is looked for once something is: keeping the path takes as long as reading.
    if let Ok(value) = T::deserialize(Strict(&mut json))
        && json.end().is_ok()
    {
        return Ok(value);
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = at_path(serde_path_to_error::deserialize(Strict(&mut json)))?;
    json.end().map_err(|e| InvalidJson { path: "document".into(), problem: e.to_string() })?;
    Ok(value)
}

/// Reads a document out of a parsed value, with the same care for the path.
///
/// # Errors
/// Names the field and the problem.
pub fn from_value<T: DeserializeOwned>(value: serde_json::Value) -> Result<T, InvalidJson> {
    at_path(serde_path_to_error::deserialize(Strict(value)))
}

fn at_path<T, E: fmt::Display>(result: Result<T, serde_path_to_error::Error<E>>) -> Result<T, InvalidJson> {
    result.map_err(|e| {
        let path = e.path().to_string();
        let path = if path == "." || path == "?" { "document".to_owned() } else { path };
        InvalidJson { path, problem: e.inner().to_string() }
    })
}

/// Writes a document compactly, fields in the order of their declaration.
pub fn to_vec<T: Serialize>(value: &T) -> Vec<u8> {
    // INVARIANT: documents hold no maps with keys other than strings and no fallible serializers, the only two ways to fail.
    serde_json::to_vec(value).unwrap_or_default()
}

/// Deserializes through [`FromStr`], so that a parsed type never exists in an invalid state.
///
/// # Errors
/// The parser's own words.
pub fn parse_str<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr,
    T::Err: fmt::Display,
{
    struct Parse<T>(PhantomData<T>);
    impl<T: FromStr> Visitor<'_> for Parse<T>
    where
        T::Err: fmt::Display,
    {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }
    deserializer.deserialize_str(Parse(PhantomData))
}

/// 32 bytes, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hex32(pub [u8; 32]);

impl fmt::Display for Hex32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, &mut [0; 64], f)
    }
}

/// Writes bytes as lower-case hexadecimal digits by way of a buffer of twice as many.
pub(crate) fn write_hex(bytes: &[u8], digits: &mut [u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    hex::encode_to_slice(bytes, digits).map_err(|_| fmt::Error)?;
    f.pad(std::str::from_utf8(digits).map_err(|_| fmt::Error)?)
}

impl fmt::Debug for Hex32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Hex32 {
    type Err = InvalidHex;

    fn from_str(text: &str) -> Result<Self, InvalidHex> {
        let mut out = [0; 32];
        if text.bytes().any(|b| b.is_ascii_uppercase()) || hex::decode_to_slice(text, &mut out).is_err() {
            return Err(InvalidHex);
        }
        Ok(Self(out))
    }
}

/// A text is not 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 lower-case hexadecimal digits")]
pub struct InvalidHex;

impl Serialize for Hex32 {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hex32 {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        parse_str(d)
    }
}

/// An integer that every JSON reader holds exactly: at most 2^53 - 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct SafeInt(u64);

impl SafeInt {
    /// The value, or nothing where I-JSON cannot carry it.
    pub fn new(value: u64) -> Option<Self> {
        (value <= MAX_INTEGER).then_some(Self(value))
    }

    /// The value.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl<'de> Deserialize<'de> for SafeInt {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let value = u64::deserialize(d)?;
        Self::new(value).ok_or_else(|| D::Error::custom(format!("{value} is above 2^53 - 1")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Doc {
        #[allow(dead_code)]
        count: SafeInt,
        #[allow(dead_code)]
        inner: Option<Box<Doc>>,
    }

    #[test]
    fn refuses_what_i_json_refuses() {
        assert!(from_slice::<Doc>(br#"{"count":1}"#).is_ok());
        for (bad, path) in [
            (&br#"{"count":1,"count":1}"#[..], "document"),
            (br#"{"count":1.0}"#, "count"),
            (br#"{"count":9007199254740992}"#, "count"),
            (br#"{"count":-1}"#, "count"),
            (br#"{"count":1,"inner":{"count":1,"x":2}}"#, "inner"),
            (br#"{"count":1} {"#, "document"),
            (br#"{"count":1,"inner":{"count":"a"}}"#, "inner.count"),
            (br#"[1]"#, "document"),
            (br#"{"count":1,"inner":[1]}"#, "inner"),
        ] {
            let error = from_slice::<Doc>(bad).unwrap_err();
            assert!(error.path.starts_with(path), "{error}");
        }
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Plain {
        items: Vec<Kind>,
        number: i64,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    enum Kind {
        Unit,
        New(u64),
        Tuple(u64, String),
        Struct { size: u64 },
        Maybe(Option<Box<Plain>>),
    }

    #[test]
    fn the_rules_hold_for_plain_types_at_any_depth() {
        let plain = Plain { items: vec![], number: -3 };
        let good = Plain {
            items: vec![
                Kind::Unit,
                Kind::New(1),
                Kind::Tuple(2, "x".into()),
                Kind::Struct { size: MAX_INTEGER },
                Kind::Maybe(Some(Box::new(plain))),
                Kind::Maybe(None),
            ],
            number: -(MAX_INTEGER as i64),
        };
        assert_eq!(from_slice::<Plain>(&to_vec(&good)).unwrap(), good);
        let value = serde_json::to_value(&good).unwrap();
        assert_eq!(from_value::<Plain>(value).unwrap(), good);
        for bad in [
            r#"{"items":[],"number":9007199254740992}"#,
            r#"{"items":[],"number":-9007199254740992}"#,
            r#"{"items":[],"number":1e3}"#,
            r#"{"items":[],"number":-0}"#,
            r#"{"items":[{"New":9007199254740992}],"number":1}"#,
            r#"{"items":[{"Struct":[1]}],"number":1}"#,
            r#"{"items":[{"Struct":{"size":1,"size":1}}],"number":1}"#,
            r#"{"items":[{"Maybe":[[],1]}],"number":1}"#,
            r#"{"items":[{"Maybe":{"items":[{"New":9007199254740992}],"number":1}}],"number":1}"#,
            r#"{"items":[{"New":1,"New":1}],"number":1}"#,
            r#"[[],1]"#,
        ] {
            assert!(from_slice::<Plain>(bad.as_bytes()).is_err(), "{bad}");
            // A parsed value has lost its duplicates already.
            if !bad.contains(r#""size":1,"size""#) && !bad.contains(r#""New":1,"New""#) {
                assert!(from_value::<Plain>(serde_json::from_str(bad).unwrap()).is_err(), "{bad}");
            }
        }
    }
}
