//! Bounds on a policy's text, checked before Cedar's parser sees it: that parser and what follows it recurse, and a
//! hostile or broken file must be refused, not exhaust the stack.

use crate::finding::Fault;
use crate::partner_policy::PartnerPolicy;

/// The outline of a file: where each policy begins.
pub(crate) struct Outline {
    /// The byte at which each policy begins, its annotations included. Right only if the file is well-formed.
    pub(crate) policies: Vec<usize>,
}

/// Reads only as much of the syntax as bounds need: strings, comments, brackets, operators, `;`.
///
/// # Errors
/// The first byte and bound that the file oversteps.
pub(crate) fn outline(text: &str) -> Result<Outline, (usize, Fault)> {
    let mut policies = Vec::new();
    let mut chars = text.char_indices().peekable();
    let (mut begin, mut open, mut operators) = (None, Vec::new(), 0_usize);
    while let Some((at, c)) = chars.next() {
        if c.is_whitespace() {
            continue;
        }
        if c == '/' && chars.peek().is_some_and(|(_, next)| *next == '/') {
            // Cedar ends a comment at a carriage return as well.
            while chars.next_if(|(_, c)| !matches!(c, '\n' | '\r')).is_some() {}
            continue;
        }
        let policy = *begin.get_or_insert_with(|| {
            policies.push(at);
            operators = 0;
            at
        });
        match c {
            '"' => {
                while let Some((_, c)) = chars.next() {
                    match c {
                        '\\' => _ = chars.next(),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '(' | '[' | '{' => {
                operators += 1;
                open.push(c);
                if open.len() > PartnerPolicy::NESTING_MAX {
                    return Err((at, Fault::TooDeep));
                }
            }
            // INVARIANT: only a bracket's own counterpart closes it, and no `;` within brackets ends a policy, so that no
            // broken text makes the count smaller than the nesting that Cedar's recovering parser may build.
            ')' | ']' | '}' => _ = open.pop_if(|open| matches!((*open, c), ('(', ')') | ('[', ']') | ('{', '}'))),
            ';' if open.is_empty() => begin = None,
            '!' | '&' | '|' | '+' | '-' | '*' | '.' | '<' | '>' | '=' | '@' => operators += 1,
            c if c.is_ascii_alphabetic() || c == '_' => {
                let mut word = String::from(c);
                while let Some((_, c)) = chars.next_if(|(_, c)| c.is_ascii_alphanumeric() || *c == '_') {
                    word.push(c);
                }
                // Cedar joins conditions with `&&`: `when` and `unless` are operators, too.
                let nests = ["if", "then", "else", "in", "has", "like", "is", "when", "unless"];
                operators += usize::from(nests.contains(&word.as_str()));
            }
            _ => {}
        }
        if operators > PartnerPolicy::OPERATORS_MAX {
            return Err((policy, Fault::TooComplex));
        }
    }
    Ok(Outline { policies })
}
