//! What a scenario file may say about Dataverse: tables and columns, row counts, and one switch for every behaviour that
//! Microsoft's public pages leave open.

use serde::Deserialize;

/// The Dataverse half of a scenario. Everything has a default; unknown keys are errors.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataverseScenario {
    /// Custom tables, and changes to the built-in ones (an entry named `contact`, `account` or `new_vehicle` adds columns and keys,
    /// sets its number of rows, or switches its change tracking; its names stay what they are).
    pub tables: Vec<TableScenario>,
    /// Changes to the four activity tables of email campaigns, which are there without being named.
    pub activities: Vec<ActivityScenario>,
    /// Behaviours that the public pages leave open.
    pub switches: DataverseSwitches,
}

/// One table.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableScenario {
    /// Logical name, `new_boat` for instance.
    pub name: String,
    /// Entity set name; the logical name with an `s` when absent.
    #[serde(default)]
    pub set: Option<String>,
    /// Schema name; the logical name when absent.
    #[serde(default)]
    pub schema_name: Option<String>,
    /// The text column that names a row (`new_name` when absent; made when it is not among `columns`).
    #[serde(default)]
    pub primary_name: Option<String>,
    /// Whether change tracking is on (default true).
    #[serde(default)]
    pub change_tracking: Option<bool>,
    /// Seeded rows (default 0; of `contact` the command line decides unless this is given).
    #[serde(default)]
    pub rows: Option<u64>,
    /// Columns beside the primary key and the primary name.
    #[serde(default)]
    pub columns: Vec<ColumnScenario>,
    /// Alternate keys.
    #[serde(default)]
    pub keys: Vec<KeyScenario>,
}

/// What is different about one of the activity tables `adobe_campaignemailsend`, `adobe_campaignemailopen`,
/// `adobe_campaignemailurlclick`, `adobe_campaignemailbounce`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActivityScenario {
    /// Which of the four.
    pub table: String,
    /// The environment does not have it.
    #[serde(default)]
    pub removed: bool,
    /// Its logical and schema name, when they are others.
    #[serde(default)]
    pub name: Option<String>,
    /// Its entity set name; the logical name with an `s` when absent.
    #[serde(default)]
    pub set: Option<String>,
    /// Navigation property from `regardingobjectid` to contact; `regardingobjectid_contact_` and the logical name when absent.
    #[serde(default)]
    pub navigation: Option<String>,
    /// Columns that it lacks.
    #[serde(default)]
    pub without: Vec<String>,
    /// It has all columns and is no activity (`IsActivity` is false).
    #[serde(default)]
    pub not_an_activity: bool,
}

/// One column.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnScenario {
    /// Logical name.
    pub name: String,
    /// Type.
    #[serde(default, rename = "type")]
    pub kind: ColumnType,
    /// Schema name; the logical name when absent. A lookup's navigation property is named after it.
    #[serde(default)]
    pub schema_name: Option<String>,
    /// Greatest number of characters of a text (default 100; of a memo 2000).
    #[serde(default)]
    pub max_length: Option<u32>,
    /// Least value of a number.
    #[serde(default)]
    pub min: Option<f64>,
    /// Greatest value of a number.
    #[serde(default)]
    pub max: Option<f64>,
    /// Choices of a picklist or multi-select picklist.
    #[serde(default)]
    pub choices: Vec<ChoiceScenario>,
    /// The choices are a global option set of this name.
    #[serde(default)]
    pub global: Option<String>,
    /// Logical names of the tables that a lookup may lead to.
    #[serde(default)]
    pub targets: Vec<String>,
}

/// One choice.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChoiceScenario {
    /// Stored value.
    pub value: i32,
    /// Label in English (1033).
    pub label: String,
}

/// One alternate key.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyScenario {
    /// Name.
    pub name: String,
    /// Columns.
    pub columns: Vec<String>,
}

/// Type of a column (learn.microsoft.com, "Column data types in Microsoft Dataverse").
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// Text of one line.
    #[default]
    String,
    /// Text of several lines.
    Memo,
    /// 32-bit number.
    Integer,
    /// 64-bit number.
    BigInt,
    /// Decimal number.
    Decimal,
    /// Amount of money.
    Money,
    /// Floating-point number.
    Double,
    /// Yes or no.
    Boolean,
    /// Date and time, shown in the user's zone.
    DateTime,
    /// Date and time that mean the wall clock.
    DateTimeZoneless,
    /// Date alone.
    DateOnly,
    /// One of a list.
    Picklist,
    /// Several of a list.
    MultiSelectPicklist,
    /// Reference to a row of another table.
    Lookup,
    /// GUID that is no key.
    Guid,
}

/// Behaviours that Microsoft's public pages leave open, each with its default.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataverseSwitches {
    /// Status that carries 0x80044352 (expired delta token): 400 or 410.
    pub expired_token_status: u16,
    /// Status that carries 0x80072491 (change tracking is off): 400, 403 or 501.
    pub tracking_off_status: u16,
    /// Status of a disallowed option in a tracked request.
    pub tracking_option_status: u16,
    /// Code of a disallowed option in a tracked request.
    pub tracking_option_code: String,
    /// Status of a delta token that cannot be read.
    pub malformed_token_status: u16,
    /// The cookie of a tracked next link says `istracking="True"`.
    pub istracking: bool,
    /// Token answers carry `ext_expires_in`.
    pub ext_expires_in: bool,
    /// The 412 of `If-None-Match: *` has an empty code; otherwise 0x80040237.
    pub empty_precondition_code: bool,
    /// A delta answer without changes has `"value":[]`; otherwise no `value` at all.
    pub empty_delta_value: bool,
    /// A tracked walk that asks for annotations ends without a delta link, as an old report says.
    pub annotations_hide_delta_link: bool,
    /// `$count=true` may be combined with change tracking.
    pub count_with_tracking: bool,
    /// Rows of a page when the client does not say (5000 at most).
    pub default_page_size: u32,
    /// Pages hold at most so many rows whatever is asked, and still have a next link. 0: no such limit.
    pub short_pages: u32,
    /// Delta answers send the last row of the range before the token again.
    pub resend_duplicates: bool,
    /// The delta token at the end of a first walk covers what was changed and deleted since the walk began; otherwise only what
    /// happens after its last page was answered.
    pub token_covers_paging: bool,
    /// Seconds that a next link stays good. 0: it does not grow old.
    pub next_link_seconds: u32,
    /// Days that a delta token lives: `organization.expirechangetrackingindays`.
    pub expire_change_tracking_days: u32,
    /// A delta token expires by its age; otherwise only when a change that it has not seen is older than that.
    pub strict_token_age: bool,
    /// A row that was deleted and created again with the same id is followed by its deletion in a delta answer; otherwise it shows
    /// as a live row alone.
    pub recreated_rows_stay_deleted: bool,
    /// A change of a column that is not selected sends the row again.
    pub unselected_changes: bool,
    /// Delta answers end without a delta link.
    pub delta_without_link: bool,
    /// A date-only column takes a date and time and keeps the date; otherwise it refuses them.
    pub date_only_takes_time: bool,
    /// An inactive row refuses changes that do not activate it.
    pub inactive_rows_are_read_only: bool,
    /// 401 answers have a JSON body; otherwise they are empty.
    pub unauthorized_body: bool,
    /// `ne` finds rows whose column is null.
    pub ne_finds_null: bool,
    /// `OData-EntityId` is there on 201 too.
    pub entity_id_on_created: bool,
    /// `/$count` answers begin with a byte order mark.
    pub count_bom: bool,
    /// The application user may read the organization.
    pub organization_readable: bool,
    /// Names of privileges that the application user's roles lack, such as `prvCreateadobe_CampaignEmailSend`.
    pub missing_privileges: Vec<String>,
    /// Web servers, each with limits of its own: the cookie `ARRAffinity` leads back to one, requests without it go round.
    pub web_servers: u32,
    /// So many refusals since the last request that passed lengthen `Retry-After` by a second. 0: it does not grow.
    pub refusals_per_second_more: u32,
    /// `UpdateMultiple` and `UpsertMultiple` answer 200 with an empty body; otherwise 204.
    pub multiple_answers_200: bool,
    /// A row that one `UpdateMultiple` or `UpsertMultiple` names twice is refused as a duplicate; otherwise the later target is
    /// written over the earlier.
    pub repeated_targets_are_refused: bool,
    /// Logical names of tables that take no message for many rows.
    pub tables_without_multiple: Vec<String>,
    /// `x-ms-dop-hint`.
    pub dop_hint: u32,
}

impl Default for DataverseSwitches {
    fn default() -> Self {
        Self {
            expired_token_status: 400,
            tracking_off_status: 400,
            tracking_option_status: 400,
            tracking_option_code: "0x80060888".to_owned(),
            malformed_token_status: 400,
            istracking: true,
            ext_expires_in: true,
            empty_precondition_code: true,
            empty_delta_value: true,
            annotations_hide_delta_link: false,
            count_with_tracking: false,
            default_page_size: 5000,
            short_pages: 0,
            resend_duplicates: false,
            token_covers_paging: true,
            next_link_seconds: 0,
            expire_change_tracking_days: 7,
            strict_token_age: true,
            recreated_rows_stay_deleted: false,
            unselected_changes: true,
            delta_without_link: false,
            date_only_takes_time: false,
            inactive_rows_are_read_only: false,
            unauthorized_body: true,
            ne_finds_null: true,
            entity_id_on_created: false,
            count_bom: true,
            organization_readable: true,
            missing_privileges: Vec::new(),
            web_servers: 1,
            refusals_per_second_more: 10,
            multiple_answers_200: false,
            repeated_targets_are_refused: true,
            tables_without_multiple: Vec::new(),
            dop_hint: 4,
        }
    }
}
