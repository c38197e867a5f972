//! The tables that every sandbox has: contact, account, `new_vehicle`, systemuser (learn.microsoft.com, "Contact table reference",
//! "Account table reference").

use super::schema::{Choice, Column, Kind, Place, Table};

/// The user that everything runs as, from `WhoAmI`.
pub(super) const USER: u128 = 0x2222_2222_0000_4000_8000_0000_0000_0002;
/// Its business unit.
pub(super) const BUSINESS_UNIT: u128 = 0x1111_1111_0000_4000_8000_0000_0000_0001;
/// The organization.
pub(super) const ORGANIZATION: u128 = 0x3333_3333_0000_4000_8000_0000_0000_0003;
/// The one currency.
const CURRENCY: u128 = 0x4444_4444_0000_4000_8000_0000_0000_0004;
/// The tenant's id, as `WWW-Authenticate` shows it.
pub(crate) const TENANT: &str = "55555555-0000-4000-8000-000000000005";

const MONEY: Kind = Kind::Decimal { min: 0.0, max: 100_000_000_000_000.0, money: true };

pub(super) fn text(name: &str, max: u32) -> Column {
    Column::new(name, Kind::Text { max }).format("Text")
}

fn lookup_cell(id: u128, target: u8) -> Vec<u8> {
    let mut cell = id.to_be_bytes().to_vec();
    cell.push(target);
    cell
}

fn flag(name: &str) -> Column {
    let mut column = Column::new(name, Kind::Boolean);
    column.truth = ["Do Not Allow", "Allow"];
    column
}

pub(super) fn primary_key(name: &str) -> Column {
    Column::new(name, Kind::PrimaryKey).required("SystemRequired").on_create_only()
}

/// The columns that every user-owned table has.
pub(super) fn system() -> Vec<Column> {
    let moment = Kind::DateTime { zoneless: false };
    let user = [("systemuser", "systemusers")];
    let by = |name: &str| {
        let targets = [(user[0].0, user[0].1, name)];
        Column::new(name, Kind::Lookup).targets("Lookup", &targets).default_cell(&lookup_cell(USER, 0)).read_only()
    };
    let mut status = Column::new("statuscode", Kind::Status);
    status.choices = vec![
        Choice { value: 1, label: "Active".to_owned(), state: Some(0) },
        Choice { value: 2, label: "Inactive".to_owned(), state: Some(1) },
    ];
    let mut state =
        Column::new("statecode", Kind::State).required("SystemRequired").choices(&[(0, "Active"), (1, "Inactive")]);
    state.create = false;
    let owner = [("systemuser", "systemusers", "ownerid"), ("team", "teams", "ownerid")];
    let unit = [("businessunit", "businessunits", "owningbusinessunit")];
    let team = [("team", "teams", "owningteam")];
    vec![
        state,
        status,
        Column::new("createdon", moment).format("DateAndTime").read_only(),
        Column::new("modifiedon", moment).format("DateAndTime").read_only(),
        by("createdby"),
        by("modifiedby"),
        Column::new("ownerid", Kind::Lookup)
            .targets("Owner", &owner)
            .default_cell(&lookup_cell(USER, 0))
            .required("SystemRequired"),
        by("owninguser"),
        Column::new("owningbusinessunit", Kind::Lookup)
            .targets("Lookup", &unit)
            .default_cell(&lookup_cell(BUSINESS_UNIT, 0))
            .read_only(),
        Column::new("owningteam", Kind::Lookup).targets("Lookup", &team).read_only(),
        Column::new("overriddencreatedon", moment).format("DateOnly").on_create_only(),
        Column::new("importsequencenumber", Kind::Integer { min: i64::from(i32::MIN), max: i64::from(i32::MAX) })
            .on_create_only(),
        Column::new("timezoneruleversionnumber", Kind::Integer { min: -1, max: i64::from(i32::MAX) }),
        Column::new("utcconversiontimezonecode", Kind::Integer { min: -1, max: i64::from(i32::MAX) }),
        Column::new("versionnumber", Kind::Version).read_only(),
    ]
}

fn money(columns: &mut Vec<Column>, name: &str) {
    let at = columns.len();
    columns.push(Column::new(name, MONEY));
    let mut base = Column::new(&format!("{name}_base"), MONEY).read_only();
    base.place = Place::SameAs(at);
    columns.push(base);
}

fn currency(columns: &mut Vec<Column>) {
    let target = [("transactioncurrency", "transactioncurrencies", "transactioncurrencyid")];
    columns.push(
        Column::new("transactioncurrencyid", Kind::Lookup)
            .targets("Lookup", &target)
            .default_cell(&lookup_cell(CURRENCY, 0)),
    );
    columns.push(
        Column::new("exchangerate", Kind::Decimal { min: 0.0, max: 1e11, money: false })
            .default_cell(b"1.0000000000")
            .read_only(),
    );
}

fn address(columns: &mut Vec<Column>) {
    for line in 1..=3 {
        columns.push(text(&format!("address1_line{line}"), 250));
    }
    for (name, max) in [("city", 80), ("stateorprovince", 50), ("postalcode", 20), ("country", 80)] {
        columns.push(text(&format!("address1_{name}"), max));
    }
    let mut composite = Column::new("address1_composite", Kind::Memo { max: 1000 }).read_only();
    composite.place = Place::Composite;
    columns.push(composite);
    columns.push(Column::new("address1_latitude", Kind::Double { min: -90.0, max: 90.0 }));
    columns.push(Column::new("address1_longitude", Kind::Double { min: -180.0, max: 180.0 }));
}

fn auxiliary(name: &str, of: &str) -> Column {
    let mut column = text(name, 100).read_only();
    column.attribute_of = Some(of.to_owned());
    column
}

fn contact() -> Table {
    let mut columns = vec![
        primary_key("contactid"),
        text("fullname", 160).read_only(),
        text("firstname", 50).schema_name("FirstName").required("Recommended"),
        text("middlename", 50).schema_name("MiddleName"),
        text("lastname", 50).schema_name("LastName").required("ApplicationRequired"),
    ];
    for name in ["emailaddress1", "emailaddress2", "emailaddress3"] {
        columns.push(text(name, 100).format("Email"));
    }
    for name in ["telephone1", "telephone2", "telephone3", "mobilephone", "fax"] {
        columns.push(text(name, 50).format("Phone"));
    }
    for (name, max) in [("jobtitle", 100), ("salutation", 100), ("suffix", 10), ("nickname", 100), ("department", 100)]
    {
        columns.push(text(name, max));
    }
    columns.push(Column::new("birthdate", Kind::DateOnly).schema_name("BirthDate"));
    columns.push(Column::new("anniversary", Kind::DateOnly));
    columns.push(
        Column::new("gendercode", Kind::Picklist).schema_name("GenderCode").choices(&[(1, "Male"), (2, "Female")]),
    );
    let family = [(1, "Single"), (2, "Married"), (3, "Divorced"), (4, "Widowed")];
    columns.push(Column::new("familystatuscode", Kind::Picklist).choices(&family));
    address(&mut columns);
    for name in [
        "donotemail",
        "donotphone",
        "donotfax",
        "donotpostalmail",
        "donotbulkemail",
        "donotbulkpostalmail",
        "donotsendmm",
    ] {
        columns.push(flag(name));
    }
    let mut follow = flag("followemail").default_cell(b"true");
    follow.truth = ["Allow", "Do Not Allow"];
    columns.push(follow);
    let methods = [(1, "Any"), (2, "Email"), (3, "Phone"), (4, "Fax"), (5, "Mail")];
    columns.push(Column::new("preferredcontactmethodcode", Kind::Picklist).choices(&methods).default_cell(b"1"));
    for name in ["leadsourcecode", "customertypecode", "educationcode"] {
        columns.push(Column::new(name, Kind::Picklist).choices(&[(1, "Default Value")]).default_cell(b"1"));
    }
    money(&mut columns, "creditlimit");
    money(&mut columns, "annualincome");
    currency(&mut columns);
    let customer =
        [("account", "accounts", "parentcustomerid_account"), ("contact", "contacts", "parentcustomerid_contact")];
    columns.push(
        Column::new("parentcustomerid", Kind::Lookup).schema_name("ParentCustomerId").targets("Customer", &customer),
    );
    columns.push(Column::new("merged", Kind::Boolean).read_only());
    columns.push(
        Column::new("masterid", Kind::Lookup).targets("Lookup", &[("contact", "contacts", "masterid")]).read_only(),
    );
    for name in ["externaluseridentifier", "employeeid", "governmentid"] {
        columns.push(text(name, 50));
    }
    columns.push(Column::new("description", Kind::Memo { max: 2000 }));
    columns.extend(system());
    columns.push(auxiliary("yomifirstname", "firstname"));
    columns.push(auxiliary("parentcustomeridname", "parentcustomerid"));
    let mut table = Table::new("contact", "contacts", "Contact", 2, columns);
    table.rows = None;
    table
}

fn account() -> Table {
    let mut columns = vec![
        primary_key("accountid"),
        text("name", 160).schema_name("Name").required("ApplicationRequired"),
        text("accountnumber", 20).schema_name("AccountNumber"),
        text("emailaddress1", 100).format("Email"),
        text("telephone1", 50).format("Phone"),
        text("websiteurl", 200).format("Url"),
        Column::new("numberofemployees", Kind::Integer { min: 0, max: 1_000_000_000 }),
        Column::new("industrycode", Kind::Picklist).choices(&[
            (1, "Accounting"),
            (2, "Agriculture"),
            (3, "Broadcasting"),
        ]),
    ];
    address(&mut columns);
    money(&mut columns, "revenue");
    currency(&mut columns);
    columns.push(
        Column::new("primarycontactid", Kind::Lookup).targets("Lookup", &[("contact", "contacts", "primarycontactid")]),
    );
    columns.push(
        Column::new("parentaccountid", Kind::Lookup).targets("Lookup", &[("account", "accounts", "parentaccountid")]),
    );
    columns.push(Column::new("description", Kind::Memo { max: 2000 }));
    columns.extend(system());
    let mut table = Table::new("account", "accounts", "Account", 1, columns);
    table.keys.push(super::schema::Key { name: "accountnumber_key".to_owned(), columns: vec![2] });
    table
}

/// Users of the organization. Owners are bound to them.
fn system_user() -> Table {
    let mut columns = vec![primary_key("systemuserid"), text("fullname", 200).read_only()];
    for (name, max) in [("firstname", 256), ("lastname", 256), ("domainname", 1024)] {
        columns.push(text(name, max));
    }
    columns.push(text("internalemailaddress", 100).format("Email"));
    columns.push(Column::new("isdisabled", Kind::Boolean));
    let unit = [("businessunit", "businessunits", "businessunitid")];
    columns.push(
        Column::new("businessunitid", Kind::Lookup)
            .targets("Lookup", &unit)
            .default_cell(&lookup_cell(BUSINESS_UNIT, 0)),
    );
    columns.push(Column::new("createdon", Kind::DateTime { zoneless: false }).format("DateAndTime").read_only());
    columns.push(Column::new("modifiedon", Kind::DateTime { zoneless: false }).format("DateAndTime").read_only());
    columns.push(Column::new("versionnumber", Kind::Version).read_only());
    let mut table = Table::new("systemuser", "systemusers", "SystemUser", 8, columns);
    table.change_tracking = false;
    table
}

/// The row of the user that everything runs as.
pub(super) fn first_user(table: &Table) -> Vec<(usize, Vec<u8>)> {
    let values = [
        ("firstname", "Sandbox"),
        ("lastname", "User"),
        ("domainname", "sandbox@contoso.example"),
        ("internalemailaddress", "sandbox@contoso.example"),
    ];
    values.iter().filter_map(|(name, value)| Some((table.column(name)?, super::row::text_cell(value)))).collect()
}

/// The columns that a custom table begins with.
pub(super) fn custom(primary: &str, name: &str) -> Vec<Column> {
    let mut columns = vec![primary_key(primary), text(name, 100).required("ApplicationRequired")];
    columns.extend(system());
    columns
}

fn vehicle() -> Table {
    let mut columns = custom("new_vehicleid", "new_name");
    columns.push(
        Column::new("new_owner", Kind::Lookup)
            .schema_name("new_Owner")
            .targets("Lookup", &[("contact", "contacts", "new_Owner")]),
    );
    columns.push(Column::new("new_seats", Kind::Integer { min: 0, max: 100 }));
    columns.push(Column::new("new_consumption", Kind::Decimal { min: 0.0, max: 1000.0, money: false }));
    columns.push(Column::new("new_weight", Kind::Double { min: 0.0, max: 100_000.0 }));
    columns.push(Column::new("new_electric", Kind::Boolean));
    columns.push(Column::new("new_lastservice", Kind::DateTime { zoneless: false }).format("DateAndTime"));
    columns.push(Column::new("new_registeredon", Kind::DateOnly));
    let fuels = [(100_000_000, "Petrol"), (100_000_001, "Diesel"), (100_000_002, "Electric")];
    columns.push(Column::new("new_fuel", Kind::Picklist).choices(&fuels));
    columns.push(Column::new("new_notes", Kind::Memo { max: 2000 }));
    let extras = [(100_000_000, "Tow bar"), (100_000_001, "Roof rack"), (100_000_002, "Winter tyres")];
    let mut multi = Column::new("new_extras", Kind::MultiSelect).choices(&extras);
    multi.global = Some("new_vehicleextras".to_owned());
    columns.push(multi);
    money(&mut columns, "new_price");
    currency(&mut columns);
    Table::new("new_vehicle", "new_vehicles", "new_Vehicle", 10_001, columns)
}

/// The tables without a scenario.
pub(super) fn tables() -> Vec<Table> {
    vec![account(), contact(), vehicle(), system_user()]
}
