//! The built-in `profile`: its published columns (experienceleague.adobe.com, "Profile data model"), before a scenario extends it.

use super::scenario::{
    CampaignScenario, CampaignSwitches, DataPolicy, FieldScenario, FieldType, FilterOperator, GeneralOptOutDate,
    OptOutPrefix, ResourceFamily, ResourceScenario, default_vehicle, filter,
};
use super::value::Choice;

const LANGUAGES: &str = "none af_za ar_ae ar_bh ar_dz ar_eg ar_iq ar_jo ar_kw ar_lb ar_ly ar_ma ar_om ar_qa ar_sa ar_sy ar_tn ar_ye be_by bg_bg bn_in ca_es cs_cz \
da_dk de_at de_ch de_de de_li de_lu el_gr en_au en_bz en_ca en_gb en_ie en_in en_jm en_nz en_ph en_sg en_tt en_us en_za en_zw es_ar es_bo es_cl es_co es_cr es_do \
es_ec es_es es_gt es_hn es_mx es_ni es_pa es_pe es_pr es_py es_sv es_us es_uy es_ve et_ee eu_es fa_ir fi_fi fil_ph fr_be fr_ca fr_ch fr_fr fr_lu fr_mc ga_ie gl_es \
he_il hi_in hr_hr hu_hu hy_am id_id is_is it_ch it_it ja_jp ka_ge kk_kz km_kh ko_kr lt_lt lv_lv mk_mk ms_bn ms_my mt_mt nb_no nl_be nl_nl nn_no no_no pl_pl pt_br \
pt_pt ro_ro ru_ru sk_sk sl_si sq_al sr_rs sv_fi sv_se sw_ke ta_in te_in th_th tr_tr uk_ua ur_pk uz_uz vi_vn zh_cn zh_hk zh_mo zh_sg zh_tw";

const ZONES: &str = "none GMT Gmt_m1 Gmt_m2 Gmt_m3 Gmt_m4 Gmt_m5 Gmt_m6 Gmt_m7 Gmt_m8 Gmt_m9 Gmt_m10 Gmt_m11 Gmt_p1 Gmt_p2 Gmt_p3 Gmt_p4 Gmt_p5 Gmt_p6 Gmt_p7 \
Gmt_p8 Gmt_p9 Gmt_p10 Gmt_p11 Gmt_p12 Gmt_p13 Africa_Cairo Africa_Casablanca Africa_Harare Africa_Luanda Africa_Monrovia Africa_Nairobi Africa_Windhoek \
America_Anchorage America_Asuncion America_Bogota America_Buenos_Aires America_Caracas America_Chicago America_Chihuahua America_Cuiaba America_Denver \
America_Godthab America_Halifax America_Indianapolis America_La_Paz America_Los_Angeles America_Manaus America_Mexico_City America_Montevideo America_New_York \
America_Phoenix America_Regina America_Santiago America_Sao_Paulo America_St_Johns Asia_Amman Asia_Baghdad Asia_Baku Asia_Bangkok Asia_Beirut Asia_Colombo \
Asia_Damascus Asia_Dhaka Asia_Irkutsk Asia_Jerusalem Asia_Kabul Asia_Karachi Asia_Katmandu Asia_Kolkata Asia_Krasnoyarsk Asia_Kuala_Lumpur Asia_Muscat \
Asia_Novosibirsk Asia_Rangoon Asia_Riyadh Asia_Seoul Asia_Shanghai Asia_Taipei Asia_Tbilisi Asia_Tehran Asia_Tokyo Asia_Ulan_Bator Asia_Vladivostok Asia_Yakutsk \
Asia_Yekaterinburg Asia_Yerevan Atlantic_Azores Atlantic_Cape_Verde Atlantic_Reykjavik Atlantic_South_Georgia Australia_Adelaide Australia_Brisbane \
Australia_Canberra Australia_Darwin Australia_Hobart Australia_Perth Europe_Athens Europe_Belgrade Europe_Berlin Europe_Bucharest Europe_Helsinki Europe_London \
Europe_Moscow Europe_Paris Europe_Sarajevo Indian_Mauritius Pacific_Auckland Pacific_Fiji Pacific_Guadalcanal Pacific_Guam Pacific_Honolulu Pacific_Samoa \
Pacific_Tongatapu";

/// Channels with an opt-out of their own; the first is the general one.
const CHANNELS: [(&str, &str); 7] = [
    ("", "No longer contact (by any channel)"),
    ("Email", "No longer contact by email"),
    ("Fax", "No longer contact by fax"),
    ("Mobile", "No longer contact by SMS"),
    ("Phone", "No longer contact by phone"),
    ("PostalMail", "No longer contact by direct mail"),
    ("Pushnotification", "No longer contact by push notification"),
];

/// Path of the first opt-out name part.
pub(super) fn prefix(switches: &CampaignSwitches) -> &'static str {
    match switches.opt_out_prefix {
        OptOutPrefix::BlackList => "blackList",
        OptOutPrefix::DenyList => "denyList",
        OptOutPrefix::BlockList => "blockList",
    }
}

/// Which timestamps a change of an opt-out moves: pairs of opt-out and timestamp.
pub(super) fn stamps(switches: &CampaignSwitches) -> Vec<(String, String)> {
    let prefix = prefix(switches);
    let mut out = vec![("ccpaOptOut".to_owned(), "ccpaOptOutLastModified".to_owned())];
    for (channel, _) in CHANNELS {
        let name = format!("{prefix}{channel}");
        if !channel.is_empty() {
            out.push((name.clone(), format!("{name}LastModified")));
            continue;
        }
        if switches.general_opt_out_date != GeneralOptOutDate::All {
            out.push((name.clone(), format!("{name}LastModified")));
        }
        if switches.general_opt_out_date != GeneralOptOutDate::BlackList {
            out.push((name.clone(), format!("{name}AllLastModified")));
        }
    }
    out
}

/// Names and stored values of the enumerations whose values are not their names.
pub(super) fn choices(field: &FieldScenario) -> Vec<Choice> {
    let by_name = matches!(field.name.as_str(), "preferredLanguage" | "timeZone");
    field
        .values
        .iter()
        .enumerate()
        .map(|(at, name)| Choice {
            name: name.clone(),
            value: if by_name { name.clone() } else { at.to_string() },
            label: capital(name),
        })
        .collect()
}

/// With a capital first letter.
pub(super) fn capital(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map(|c| c.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// Every resource of a scenario: the built-in ones, extended or replaced by what it says. What cannot be changed is a problem.
pub(super) fn resources(scenario: &CampaignScenario, problems: &mut Vec<String>) -> Vec<ResourceScenario> {
    let mut all = vec![profile(&scenario.switches)];
    if !scenario.resources.iter().any(|r| r.name == "cusVehicle") {
        all.push(default_vehicle());
    }
    for given in &scenario.resources {
        match all.iter_mut().find(|r| r.name == given.name) {
            Some(known) if given.name == "profile" => extend(known, given, problems),
            _ => all.push(given.clone()),
        }
    }
    all
}

fn extend(profile: &mut ResourceScenario, given: &ResourceScenario, problems: &mut Vec<String>) {
    if given.family != profile.family {
        problems.push("campaign: profile: the family of a built-in resource cannot be changed".to_owned());
    }
    profile.label = given.label.clone().or(profile.label.take());
    for field in &given.fields {
        match profile.fields.iter_mut().find(|f| f.name == field.name) {
            Some(known) => {
                let kind = known.kind.unwrap_or_default();
                if field.kind.is_some_and(|given| given != kind) || (field.fraction && !known.fraction) {
                    problems.push(format!(
                        "campaign: profile.{}: the type of a built-in column cannot be changed",
                        field.name
                    ));
                }
                if !field.values.is_empty() && kind != FieldType::Enumeration {
                    problems.push(format!("campaign: profile.{}: is no enumeration, and has no values", field.name));
                }
                known.label = field.label.clone().or(known.label.take());
                known.data_policy = field.data_policy.or(known.data_policy);
                known.length = field.length.or(known.length);
                known.mandatory |= field.mandatory;
                known.read_only |= field.read_only;
                known.default = field.default.clone().or(known.default.take());
                if !field.values.is_empty() {
                    known.values.clone_from(&field.values);
                }
            }
            None => profile.fields.push(field.clone()),
        }
    }
    if !given.unique_keys.is_empty() {
        profile.unique_keys.clone_from(&given.unique_keys);
    }
    profile.links.extend(given.links.iter().cloned());
    profile.filters.retain(|f| !given.filters.iter().any(|g| g.name == f.name));
    profile.filters.extend(given.filters.iter().cloned());
    profile.rows = given.rows;
}

fn profile(switches: &CampaignSwitches) -> ResourceScenario {
    let text = |name: &str, label: &str, length| FieldScenario {
        name: name.to_owned(),
        label: Some(label.to_owned()),
        length: Some(length),
        ..FieldScenario::default()
    };
    let of = |kind, name: &str, label: &str| FieldScenario {
        name: name.to_owned(),
        label: Some(label.to_owned()),
        kind: Some(kind),
        ..FieldScenario::default()
    };
    let names = |list: &str| list.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let mut fields = vec![
        text("externalId", "External Resource ID", 100),
        FieldScenario { data_policy: Some(DataPolicy::Email), ..text("email", "Email", 128) },
        FieldScenario {
            values: names("unknown text html"),
            ..of(FieldType::Enumeration, "emailFormat", "Email format")
        },
        text("salutation", "Title", 20),
        text("firstName", "First name", 30),
        text("middleName", "Middle name", 30),
        text("lastName", "Last name", 50),
        of(FieldType::Date, "birthDate", "Birth date"),
        FieldScenario { values: names("unknown male female"), ..of(FieldType::Enumeration, "gender", "Gender") },
        text("phone", "Phone", 32),
        text("mobilePhone", "Mobile", 32),
        text("fax", "Fax", 32),
        FieldScenario {
            values: names(LANGUAGES),
            ..of(FieldType::Enumeration, "preferredLanguage", "Preferred language")
        },
        FieldScenario { values: names(ZONES), ..of(FieldType::Enumeration, "timeZone", "Time zone") },
        of(FieldType::Boolean, "isExternal", "External"),
        FieldScenario {
            default: Some("/nl/img/thumbnails/defaultProfil.png".into()),
            ..text("thumbnail", "Image", 255)
        },
    ];
    for part in ["address1", "address2", "address3", "address4", "city", "countryCode", "stateCode", "zipCode"] {
        fields.push(text(&format!("location.{part}"), &capital(part), 255));
    }
    let stamp = |name: String| FieldScenario {
        read_only: !switches.opt_out_dates_writable,
        ..of(FieldType::Datetime, &name, "Last modified on")
    };
    let prefix = prefix(switches);
    for (channel, label) in CHANNELS {
        let name = format!("{prefix}{channel}");
        fields.push(of(FieldType::Boolean, &name, label));
        if channel != "Pushnotification" || switches.pushnotification_date {
            fields.push(stamp(format!("{name}LastModified")));
        }
        if channel.is_empty() {
            fields.push(stamp(format!("{name}AllLastModified")));
        }
    }
    fields.push(of(FieldType::Boolean, "ccpaOptOut", "CCPA opt-out"));
    fields.push(stamp("ccpaOptOutLastModified".to_owned()));
    if switches.acs_id {
        fields.push(FieldScenario { read_only: true, ..text("acsId", "Campaign Standard ID", 255) });
    }
    ResourceScenario {
        name: "profile".to_owned(),
        family: ResourceFamily::ProfileAndServicesExt,
        label: Some("Profiles".to_owned()),
        unique_keys: vec![vec!["externalId".to_owned()]],
        fields,
        links: Vec::new(),
        filters: vec![
            filter("byCrmId", "externalId", FilterOperator::Equal),
            filter("byLastModified", "lastModified", FilterOperator::OnOrAfter),
        ],
        rows: 0,
    }
}
