//! Choices and labels.

use serde::Deserialize;

/// A text in one language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalizedLabel {
    /// The text.
    pub text: String,
    /// The language as a Windows language code: 1033 is English (United States).
    pub language: u32,
}

/// A text in the languages of the organisation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Label {
    /// The text in each installed language that has one.
    pub localized: Vec<LocalizedLabel>,
    /// The text in the language of the calling user.
    pub user: Option<LocalizedLabel>,
}

impl Label {
    /// The text in `language` if it is there, else in the language of the calling user, else any.
    #[must_use]
    pub fn text(&self, language: Option<u32>) -> Option<&str> {
        let wanted = |label: &&LocalizedLabel| Some(label.language) == language;
        self.localized
            .iter()
            .find(wanted)
            .or(self.user.as_ref())
            .or_else(|| self.localized.first())
            .map(|label| label.text.as_str())
    }
}

/// One option of a choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChoiceOption {
    /// The number on the wire.
    pub value: i32,
    /// The text that people see.
    pub label: Label,
    /// For status reasons: the state (`statecode`) that the reason belongs to.
    pub state: Option<i32>,
}

/// The options of a choice, state, status or multi-select column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choices {
    /// The name of the option set.
    pub name: Option<String>,
    /// Whether the option set is shared by several columns.
    pub global: bool,
    /// The options in the service's order.
    pub options: Vec<ChoiceOption>,
}

impl Choices {
    /// The label of a value; see [`Label::text`] for the language.
    #[must_use]
    pub fn label(&self, value: i32, language: Option<u32>) -> Option<&str> {
        self.options.iter().find(|option| option.value == value)?.label.text(language)
    }

    /// The value whose label, in any language, is exactly this text.
    #[must_use]
    pub fn value_of(&self, label: &str) -> Option<i32> {
        let carries = |option: &&ChoiceOption| {
            option.label.localized.iter().chain(&option.label.user).any(|localized| localized.text == label)
        };
        self.options.iter().find(carries).map(|option| option.value)
    }
}

/// The labels of a yes/no column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BooleanLabels {
    /// What `true` is called.
    pub when_true: Label,
    /// What `false` is called.
    pub when_false: Label,
}

// The forms on the wire. Every member is optional: what is selected decides what is there.

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct WireLocalized {
    label: Option<String>,
    language_code: Option<u32>,
}

impl WireLocalized {
    fn read(self) -> Option<LocalizedLabel> {
        Some(LocalizedLabel { text: self.label?, language: self.language_code.unwrap_or_default() })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct WireLabel {
    localized_labels: Option<Vec<WireLocalized>>,
    user_localized_label: Option<WireLocalized>,
}

impl WireLabel {
    pub(super) fn read(self) -> Label {
        Label {
            localized: self.localized_labels.unwrap_or_default().into_iter().filter_map(WireLocalized::read).collect(),
            user: self.user_localized_label.and_then(WireLocalized::read),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireOption {
    value: Option<i32>,
    label: Option<WireLabel>,
    state: Option<i32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct WireOptionSet {
    name: Option<String>,
    is_global: Option<bool>,
    options: Option<Vec<WireOption>>,
    true_option: Option<WireOption>,
    false_option: Option<WireOption>,
}

impl WireOptionSet {
    /// The options, if this is the set of a choice.
    fn read(self, global: bool) -> Option<Choices> {
        let options = self.options?;
        let read = |option: WireOption| {
            Some(ChoiceOption {
                value: option.value?,
                label: option.label.map(WireLabel::read).unwrap_or_default(),
                state: option.state,
            })
        };
        Some(Choices {
            name: self.name,
            global: self.is_global.unwrap_or(global),
            options: options.into_iter().filter_map(read).collect(),
        })
    }

    /// The labels, if this is the set of a yes/no column.
    fn booleans(&mut self) -> Option<BooleanLabels> {
        let label = |option: Option<WireOption>| option.and_then(|option| option.label).map(WireLabel::read);
        let (when_true, when_false) = (label(self.true_option.take()), label(self.false_option.take()));
        (when_true.is_some() || when_false.is_some()).then(|| BooleanLabels {
            when_true: when_true.unwrap_or_default(),
            when_false: when_false.unwrap_or_default(),
        })
    }
}

/// What a column's `OptionSet` and `GlobalOptionSet` say; local sets stand in the first, shared ones in the second.
pub(super) fn read_option_sets(
    local: Option<WireOptionSet>,
    global: Option<WireOptionSet>,
) -> (Option<Choices>, Option<BooleanLabels>) {
    let mut choices = None;
    let mut booleans = None;
    for (set, is_global) in [(local, false), (global, true)] {
        let Some(mut set) = set else { continue };
        booleans = booleans.or_else(|| set.booleans());
        // A service may answer with an empty local set beside a filled global one.
        choices = match (choices, set.read(is_global)) {
            (Some(Choices { options, .. }), Some(other)) if options.is_empty() => Some(other),
            (None, other) => other,
            (first, _) => first,
        };
    }
    (choices, booleans)
}
