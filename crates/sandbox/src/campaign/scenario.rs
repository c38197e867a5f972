//! What a scenario file may say about the Campaign side: resources, their columns, links and filters, and one switch for every
//! behaviour that Adobe's public pages leave open.

use serde::Deserialize;

use super::workflow::WorkflowScenario;

/// The Campaign half of a scenario. Everything has a default; unknown keys are errors.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CampaignScenario {
    /// Rows above which `next` is withheld unless `_forcePagination=true`: the instance option `XtkBigTableThreshold`
    /// (experienceleague.adobe.com, "Pagination").
    pub big_table_threshold: u64,
    /// Custom resources, and extensions of the built-in `profile` (an entry named `profile` adds columns, filters and
    /// links to it, or changes the policy of a column that it has).
    pub resources: Vec<ResourceScenario>,
    /// Workflows; without any, the daily export of the opt-outs as `WKF12`.
    pub workflows: Vec<WorkflowScenario>,
    /// Behaviours that the public pages leave open.
    pub switches: CampaignSwitches,
}

impl Default for CampaignScenario {
    fn default() -> Self {
        Self {
            big_table_threshold: 100_000,
            resources: Vec::new(),
            workflows: Vec::new(),
            switches: CampaignSwitches::default(),
        }
    }
}

/// One resource.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourceScenario {
    /// Wire name, `cusVehicle` for instance, or `profile` to extend the built-in one.
    pub name: String,
    /// Where it is published; a resource is in one family, never in both.
    #[serde(default)]
    pub family: ResourceFamily,
    /// Label of the metadata; the name when absent.
    #[serde(default)]
    pub label: Option<String>,
    /// Unique keys, each a list of columns. The first of one column is the custom identification key.
    #[serde(default)]
    pub unique_keys: Vec<Vec<String>>,
    /// Columns.
    #[serde(default)]
    pub fields: Vec<FieldScenario>,
    /// Links to other resources by the value of a column.
    #[serde(default)]
    pub links: Vec<LinkScenario>,
    /// Published custom filters.
    #[serde(default)]
    pub filters: Vec<FilterScenario>,
    /// Seeded rows that exist from the start.
    #[serde(default)]
    pub rows: u64,
}

/// The two families that hold custom resources.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum ResourceFamily {
    /// Linked to the profile: `/profileAndServicesExt`.
    #[default]
    #[serde(rename = "profileAndServicesExt")]
    ProfileAndServicesExt,
    /// Not linked to the profile: `/customResources`.
    #[serde(rename = "customResources")]
    CustomResources,
}

/// One column.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldScenario {
    /// Wire name; custom ones start with `cus`.
    pub name: String,
    /// High-level type; text when absent. That of a built-in column cannot be changed.
    #[serde(default, rename = "type")]
    pub kind: Option<FieldType>,
    /// Label of the metadata; the name when absent.
    #[serde(default)]
    pub label: Option<String>,
    /// Greatest number of characters of a string (default 255).
    #[serde(default)]
    pub length: Option<u32>,
    /// Whether a number holds a fraction.
    #[serde(default)]
    pub fraction: bool,
    /// Names of an enumeration; the stored value of each is its place, from 0.
    #[serde(default)]
    pub values: Vec<String>,
    /// Refuses writes.
    #[serde(default, alias = "readOnly")]
    pub read_only: bool,
    /// A create without it is refused.
    #[serde(default)]
    pub mandatory: bool,
    /// What is checked or changed on a write.
    #[serde(default, alias = "dataPolicy")]
    pub data_policy: Option<DataPolicy>,
    /// Value of a row that was given none; `""`, 0, false or the enumeration's first name when absent.
    #[serde(default)]
    pub default: Option<serde_json::Value>,
}

/// High-level type of a column, as the metadata names it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldType {
    /// Text.
    #[default]
    String,
    /// Integer, or a fraction when the column says so.
    Number,
    /// True or false.
    Boolean,
    /// `YYYY-MM-DD`.
    Date,
    /// `YYYY-MM-DD HH:MM:SS.mmmZ`.
    Datetime,
    /// One of a list of names.
    Enumeration,
}

/// Data policy of a column (experienceleague.adobe.com, "Configuring the resource's data structure").
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum DataPolicy {
    /// Stored as sent.
    #[default]
    #[serde(rename = "none")]
    None,
    /// Refused unless it is an email address; never changed.
    #[serde(rename = "email")]
    Email,
    /// Each word is stored with a capital first letter and small ones after it.
    #[serde(rename = "smartCase")]
    SmartCase,
}

/// A link made by comparing a column of this resource with a unique column of another.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkScenario {
    /// Name of the link on this resource.
    pub name: String,
    /// Column of this resource.
    pub field: String,
    /// The other resource.
    pub target: String,
    /// Its column; must be a unique key of its own.
    pub target_field: String,
    /// Whether a row without its counterpart is visible.
    #[serde(default)]
    pub cardinality: LinkCardinality,
    /// Name of the collection on the other resource that leads back here; none when absent.
    #[serde(default)]
    pub collection: Option<String>,
}

/// Kind of a simple link (experienceleague.adobe.com, "Defining links with other resources").
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkCardinality {
    /// "1 cardinality simple link", the default: rows whose join finds nothing are not visible.
    #[default]
    One,
    /// "0 or 1 cardinality simple link": always visible.
    ZeroOrOne,
}

/// A published custom filter.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilterScenario {
    /// Path segment, `byCrmId` for instance.
    pub name: String,
    /// Column that is compared; `created` and `lastModified` too.
    pub field: String,
    /// Query parameter; `<filter id>_parameter` when absent (`byCrmId`: `crmId_parameter`).
    #[serde(default)]
    pub parameter: Option<String>,
    /// Comparison.
    #[serde(default)]
    pub operator: FilterOperator,
    /// The condition is left out when its parameter is empty or missing; otherwise such a request is refused.
    #[serde(default)]
    pub optional: bool,
}

/// Comparison of a custom filter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FilterOperator {
    /// Equal.
    #[default]
    Equal,
    /// At or after (dates and times), at least (numbers).
    OnOrAfter,
}

/// Behaviours that Adobe's public pages leave open, each with its default.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CampaignSwitches {
    /// Shape of the engine's own errors.
    pub error_body: ErrorBody,
    /// The engine's errors begin with the general line `RST-360011 An error has occurred...` where the public samples do.
    pub error_head_line: bool,
    /// Status of the refusal of an email address.
    pub email_refusal_status: u16,
    /// Its text; `{value}` and `{field}` are replaced.
    pub email_refusal_text: String,
    /// Status of the errors of IMS.
    pub ims_error_status: u16,
    /// `error` of IMS for a wrong client id or secret.
    pub ims_client_error: String,
    /// A new token of IMS ends the earlier ones.
    pub new_token_ends_earlier: bool,
    /// Shape of `values` of an enumeration's metadata.
    pub metadata_values: MetadataValues,
    /// Shape of `content` of an item's metadata.
    pub metadata_item_content: MetadataItemContent,
    /// Status of a successful delete: 200 or 204.
    pub delete_status: u16,
    /// Status of a PATCH with an empty object: 200 or 204.
    pub empty_patch_status: u16,
    /// Custom resources can be addressed by their custom key, not only by PKey.
    pub custom_resource_keys: bool,
    /// A POST whose unique key exists updates that row instead of being refused, and a PATCH of the collection updates the row
    /// whose key stands in its body (experienceleague.adobe.com, KA-15086).
    pub collection_upsert: bool,
    /// A DELETE may address its row by the custom key; otherwise by PKey only, and the method is refused.
    pub delete_by_key: bool,
    /// A link can be set by the custom key of its target in the place of a PKey; otherwise such a text is a PKey that nobody knows.
    pub link_by_key: bool,
    /// `null` in a body sets the default; otherwise it is refused.
    pub accept_null: bool,
    /// What a string above its length leads to.
    pub too_long: TooLong,
    /// Greatest `_lineCount`; greater ones are read as this. 0: no cap.
    pub line_count_cap: u64,
    /// `byEmail` looks at letter case.
    pub email_filter_case_sensitive: bool,
    /// A single item's GET carries `href`.
    pub item_href: bool,
    /// First name part of the opt-out columns: `blackList`, `denyList` or `blockList`.
    pub opt_out_prefix: OptOutPrefix,
    /// Which timestamp the general opt-out moves.
    pub general_opt_out_date: GeneralOptOutDate,
    /// `blackListPushnotificationLastModified` exists.
    pub pushnotification_date: bool,
    /// The opt-out timestamps can be written.
    pub opt_out_dates_writable: bool,
    /// Profiles carry the optional `acsId`.
    pub acs_id: bool,
    /// Rows whose "1 cardinality" link finds nothing are hidden.
    pub hidden_children: bool,
    /// A row whose join column is empty counts as one whose link finds nothing.
    pub empty_join_hides: bool,
    /// The first call to an unknown organization answers 400, later ones 500; otherwise always 500.
    pub cold_organization: bool,
}

impl Default for CampaignSwitches {
    fn default() -> Self {
        Self {
            error_body: ErrorBody::Text,
            error_head_line: true,
            email_refusal_status: 500,
            email_refusal_text: "The value '{value}' of the '@{field}' field is not a valid email address.".to_owned(),
            ims_error_status: 400,
            ims_client_error: "invalid_client".to_owned(),
            new_token_ends_earlier: false,
            metadata_values: MetadataValues::Object,
            metadata_item_content: MetadataItemContent::Object,
            delete_status: 200,
            empty_patch_status: 200,
            custom_resource_keys: true,
            collection_upsert: false,
            delete_by_key: true,
            link_by_key: true,
            accept_null: true,
            too_long: TooLong::Error,
            line_count_cap: 200,
            email_filter_case_sensitive: false,
            item_href: true,
            opt_out_prefix: OptOutPrefix::BlackList,
            general_opt_out_date: GeneralOptOutDate::BlackList,
            pushnotification_date: false,
            opt_out_dates_writable: false,
            acs_id: false,
            hidden_children: true,
            empty_join_hides: false,
            cold_organization: false,
        }
    }
}

/// Shape of the engine's errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorBody {
    /// Plain text, `text/plain`.
    Text,
    /// A JSON string, `application/json`.
    JsonString,
    /// Plain text that calls itself `application/json`.
    MislabelledText,
}

/// Shape of the `values` of an enumeration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetadataValues {
    /// `{"male": {"name": "male", "label": "Male", "value": "1"}}`.
    Object,
    /// `[{"name": "male", "label": "Male", "value": "1"}]`.
    List,
    /// `["male"]`.
    Names,
}

/// Shape of the `content` of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetadataItemContent {
    /// `{"city": {"apiName": "city", ...}}`.
    Object,
    /// `[{"apiName": "city", ...}]`.
    List,
}

/// What a string above its length leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TooLong {
    /// Refused by the API layer.
    Error,
    /// Refused by the database, with the code that a duplicate key has too.
    DatabaseError,
    /// Cut.
    Truncate,
}

/// First name part of the opt-out columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum OptOutPrefix {
    /// `blackList*`, the names of the data model.
    #[serde(rename = "blackList")]
    BlackList,
    /// `denyList*`, the names of the connector's pages.
    #[serde(rename = "denyList")]
    DenyList,
    /// `blockList*`, an intermediate wording of those pages.
    #[serde(rename = "blockList")]
    BlockList,
}

/// Which timestamp the general opt-out moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GeneralOptOutDate {
    /// `blackListLastModified`.
    BlackList,
    /// `blackListAllLastModified`.
    All,
    /// Both.
    Both,
}

/// The custom resource that exists without a scenario.
pub(super) fn default_vehicle() -> ResourceScenario {
    let text = |name: &str, label: &str, length| FieldScenario {
        name: name.to_owned(),
        label: Some(label.to_owned()),
        length: Some(length),
        ..FieldScenario::default()
    };
    let typed = |name: &str, label: &str, kind| FieldScenario {
        name: name.to_owned(),
        label: Some(label.to_owned()),
        kind: Some(kind),
        ..FieldScenario::default()
    };
    ResourceScenario {
        name: "cusVehicle".to_owned(),
        label: Some("Vehicle".to_owned()),
        unique_keys: vec![vec!["cusVehicleId".to_owned()]],
        fields: vec![
            FieldScenario { mandatory: true, ..text("cusVehicleId", "Vehicle ID", 100) },
            text("cusName", "Name", 255),
            text("cusContactId", "Contact ID", 100),
            typed("cusSeats", "Seats", FieldType::Number),
            FieldScenario { fraction: true, ..typed("cusPrice", "Price", FieldType::Number) },
            typed("cusElectric", "Electric", FieldType::Boolean),
            typed("cusRegisteredOn", "Registered on", FieldType::Date),
            typed("cusLastServiceAt", "Last service", FieldType::Datetime),
            FieldScenario {
                values: ["unknown", "petrol", "diesel", "electric"].map(str::to_owned).to_vec(),
                ..typed("cusFuel", "Fuel", FieldType::Enumeration)
            },
        ],
        links: vec![LinkScenario {
            name: "cusOwner".to_owned(),
            field: "cusContactId".to_owned(),
            target: "profile".to_owned(),
            target_field: "externalId".to_owned(),
            cardinality: LinkCardinality::One,
            collection: Some("cusVehicles".to_owned()),
        }],
        filters: vec![
            filter("byCusVehicleId", "cusVehicleId", FilterOperator::Equal),
            filter("byLastModified", "lastModified", FilterOperator::OnOrAfter),
        ],
        ..ResourceScenario::default()
    }
}

/// A filter with the parameter that publishing makes up.
pub(super) fn filter(name: &str, field: &str, operator: FilterOperator) -> FilterScenario {
    FilterScenario { name: name.to_owned(), field: field.to_owned(), parameter: None, operator, optional: false }
}
