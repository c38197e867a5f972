//! The `Prefer` header.

use std::fmt::Write as _;

/// Wishes that travel with a request, joined in one `Prefer` header
/// (learn.microsoft.com, "Compose HTTP requests and handle errors": preferences).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prefer {
    return_representation: bool,
    track_changes: bool,
    max_page_size: Option<u32>,
    annotations: bool,
}

impl Prefer {
    /// No wish.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// `return=representation`: a write answers with the row.
    #[must_use]
    pub fn return_representation(mut self) -> Self {
        self.return_representation = true;
        self
    }

    /// `odata.track-changes`: the walk over the table ends with a delta link.
    #[must_use]
    pub fn track_changes(mut self) -> Self {
        self.track_changes = true;
        self
    }

    /// `odata.maxpagesize=n`: rows per page, 5000 at most; the service reduces larger values silently.
    #[must_use]
    pub fn max_page_size(mut self, rows: u32) -> Self {
        self.max_page_size = Some(rows);
        self
    }

    /// `odata.include-annotations="*"`: labels, lookup targets and the like beside the values.
    #[must_use]
    pub fn annotations(mut self) -> Self {
        self.annotations = true;
        self
    }

    /// The value of the header, or `None` when there is no wish.
    #[must_use]
    pub fn to_header(self) -> Option<String> {
        let mut out = String::new();
        let mut push = |text: &str| {
            if !out.is_empty() {
                out.push(',');
            }
            out.push_str(text);
        };
        if self.return_representation {
            push("return=representation");
        }
        if self.track_changes {
            push("odata.track-changes");
        }
        if self.annotations {
            push("odata.include-annotations=\"*\"");
        }
        if let Some(rows) = self.max_page_size {
            let mut text = String::new();
            let _ = write!(text, "odata.maxpagesize={rows}");
            push(&text);
        }
        (!out.is_empty()).then_some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::Prefer;

    #[test]
    fn wishes_are_joined_by_commas() {
        assert_eq!(Prefer::new().to_header(), None);
        assert_eq!(
            Prefer::new().track_changes().max_page_size(1000).to_header().unwrap(),
            "odata.track-changes,odata.maxpagesize=1000"
        );
        assert_eq!(
            Prefer::new().return_representation().annotations().to_header().unwrap(),
            "return=representation,odata.include-annotations=\"*\""
        );
    }
}
