//! The expected outcomes, as `outcomes.md` has them.

use std::collections::BTreeMap;

use comity_core::Role;

const TEXT: &str = include_str!("outcomes.md");

/// The relations of the callers to the record, in the order of the columns.
pub const RELATIONS: [&str; 6] =
    ["own", "granted", "not granted", "suspended", "recipient, granted", "recipient, not granted"];

/// One method's line.
#[derive(Debug, Clone)]
pub struct Line {
    pub method: String,
    /// Who may call it at all.
    pub roles: Vec<Role>,
    cells: Vec<String>,
}

impl Line {
    /// Whether an outcome is the one that the table has for a relation and a role: `ok`, or `ok; approver: NOT_FOUND` where a role is
    /// answered otherwise, with ` or ` between those that are equally good.
    pub fn expects(&self, relation: usize, role: Role, outcome: &str) -> bool {
        let mut parts = self.cells[relation].split("; ");
        let most = parts.next().unwrap();
        let of_role = |part: &str| part.strip_prefix(&format!("{role}: ")).map(str::to_owned);
        let cell = parts.find_map(of_role).unwrap_or_else(|| most.to_owned());
        cell.split(" or ").any(|good| good == outcome)
    }
}

/// Every line.
pub fn lines() -> Vec<Line> {
    let rows = TEXT.lines().filter(|line| line.starts_with("| ") && line.contains("Service/"));
    let cells = |row: &str| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    rows.map(|row| {
        let mut cells = cells(row).into_iter();
        let (method, roles) = (cells.next().unwrap(), cells.next().unwrap());
        let line = Line {
            roles: roles.split(' ').map(|role| role.parse().unwrap()).collect(),
            cells: cells.collect(),
            method,
        };
        assert_eq!(line.cells.len(), RELATIONS.len(), "{}", line.method);
        line
    })
    .collect()
}

/// Outcomes by method and relation, of each role that may call.
pub type Found = BTreeMap<(String, usize), Vec<(Role, String)>>;

/// A line as it was found, to be put into the table where it is right.
pub fn as_found(line: &Line, found: &Found) -> String {
    let roles: Vec<&str> = line.roles.iter().map(|role| role.as_str()).collect();
    let mut row = format!("| {} | {} |", line.method, roles.join(" "));
    for relation in 0..RELATIONS.len() {
        let outcomes = found.get(&(line.method.clone(), relation)).cloned().unwrap_or_default();
        let most = outcomes.first().map(|(_, outcome)| outcome.clone()).unwrap_or_default();
        let others = outcomes.iter().filter(|(_, outcome)| *outcome != most);
        let others: String = others.map(|(role, outcome)| format!("; {role}: {outcome}")).collect();
        row.push_str(&format!(" {most}{others} |"));
    }
    row
}
