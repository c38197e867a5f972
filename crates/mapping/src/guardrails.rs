//! The ceilings that Adobe documents for its own connector.

use crate::{Problem, ProblemKind, Problems, TableSpec};

/// What to do about ceilings of Adobe's service (experienceleague.adobe.com, "Microsoft Dynamics 365 integration notices
/// and recommendations"). They are no limits of this software, so that they only warn unless a host wants refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Guardrails {
    refuse: bool,
}

impl Guardrails {
    /// The ceilings give warnings.
    pub const fn none() -> Self {
        Self { refuse: false }
    }

    /// The ceilings are refusals.
    pub const fn adobe() -> Self {
        Self { refuse: true }
    }

    /// Holds the specifications against the ceilings: 20 custom tables, 50 columns each, 5 links each, 2 links deep.
    /// The warnings are the answer of [`Guardrails::none`].
    ///
    /// # Errors
    /// Everything beyond a ceiling, from [`Guardrails::adobe`].
    pub fn review(self, tables: &[TableSpec]) -> Result<Vec<Problem>, Problems> {
        let found = beyond(tables);
        if self.refuse { Problems::check(found).map(|()| Vec::new()) } else { Ok(found) }
    }
}

fn beyond(tables: &[TableSpec]) -> Vec<Problem> {
    const REMEDY: &str = "reduce it, or leave the guardrails at \"none\"";
    let mut found = Vec::new();
    let mut limit = |path: String, what: String| found.push(Problem::new(path, ProblemKind::Limit, what, REMEDY));
    let custom = tables.iter().filter(|table| table.resource != "profile").count();
    if custom > 20 {
        limit("table".to_owned(), format!("{custom} custom tables are mapped, Adobe's connector takes 20"));
    }
    for (t, table) in tables.iter().enumerate() {
        // The key is a column as well.
        let columns = table.fields.len() + table.links.len() + 1;
        if table.resource != "profile" && columns > 50 {
            limit(format!("table[{t}].fields"), format!("{columns} columns are mapped, Adobe's connector takes 50"));
        }
        if table.links.len() > 5 {
            limit(format!("table[{t}].links"), format!("{} links, Adobe's connector takes 5", table.links.len()));
        }
        let depth = depth(tables, &table.table, tables.len());
        if depth > 2 {
            limit(format!("table[{t}].links"), format!("linked {depth} deep, Adobe's connector takes 2"));
        }
    }
    found
}

/// How many links lie between a table and its farthest ancestor; circles are cut after as many steps as there are tables.
fn depth(tables: &[TableSpec], name: &str, budget: usize) -> usize {
    if budget == 0 {
        return 0;
    }
    let Some(table) = tables.iter().find(|table| table.table == name) else { return 0 };
    let parents = table.links.iter().filter(|link| link.parent != name);
    parents.map(|link| 1 + depth(tables, &link.parent, budget - 1)).max().unwrap_or(0)
}
