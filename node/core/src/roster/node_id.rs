//! Ids of consensus nodes, from the member's code and the incarnation of its node alone, so that a node knows its own before
//! it has read anything.

use crate::member::MemberId;

/// The highest incarnation of a member's node.
pub const MAX_INCARNATION: u32 = 4_095;

const INCARNATION_BITS: u32 = 12;

/// The id of a member's consensus node: its letters as digits of base 27, then 12 bits of incarnation. Less than 2^53.
pub fn node_id(member: MemberId, incarnation: u32) -> u64 {
    let letters = member.as_str().bytes().fold(0, |sum, letter| sum * 27 + u64::from(letter - b'A' + 1));
    letters << INCARNATION_BITS | u64::from(incarnation.min(MAX_INCARNATION))
}

/// Whose node an id is, and which incarnation; nothing for a number that names none.
pub fn member_of_node(id: u64) -> Option<(MemberId, u32)> {
    let incarnation = u32::try_from(id & u64::from(MAX_INCARNATION)).ok()?;
    let mut rest = id >> INCARNATION_BITS;
    let mut letters = Vec::with_capacity(MemberId::MAX_LETTERS);
    while rest > 0 && letters.len() < MemberId::MAX_LETTERS {
        let digit = u8::try_from(rest % 27).ok()?;
        letters.push(b'A' + digit.checked_sub(1)?);
        rest /= 27;
    }
    letters.reverse();
    let member = std::str::from_utf8(&letters).ok()?.parse().ok()?;
    (node_id(member, incarnation) == id).then_some((member, incarnation))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_one_node() {
        for (code, incarnation) in [("FR", 1), ("DE", 2), ("EU", MAX_INCARNATION), ("OPCW", 1), ("ZZZZZZZZ", 4_095)] {
            let member: MemberId = code.parse().unwrap();
            let id = node_id(member, incarnation);
            assert!(id < 1 << 53, "{code}");
            assert_eq!(member_of_node(id), Some((member, incarnation)), "{code}");
        }
        for none in [0, 1, 4_095, u64::MAX, 27 << 12] {
            assert_eq!(member_of_node(none), None, "{none}");
        }
    }
}
