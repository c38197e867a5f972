//! Names of routes, for the counters and for faults: `GET /contacts({id})` whatever the id.

use http::Method;

use crate::service::Side;

/// A request's method and route template, and whether it is a set-up request (token, metadata, discovery, `WhoAmI`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// `GET /contacts`.
    pub template: String,
    /// Whether it counts under `setup_requests`.
    pub setup: bool,
}

/// Put into a response's extensions by a handler that knows the template better than the path tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteTemplate(pub String);

/// Put into a response's extensions: a record request, whatever the path looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordRequest;

/// Put into a response's extensions: a set-up request, whatever the path looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetupRequest;

/// The route of a request by its path.
pub fn route(side: Side, method: &Method, path: &str) -> Route {
    let (template, setup) = match side {
        Side::Dataverse => dataverse(path),
        Side::Campaign => campaign(path),
        Side::Journal => journal(path),
    };
    Route { template: format!("{method} {template}"), setup }
}

fn dataverse(path: &str) -> (String, bool) {
    let Some(rest) = path.strip_prefix("/api/data/") else {
        let known = ["/oauth2/v2.0/token", "/.well-known/openid-configuration"];
        let template = known.into_iter().find(|end| path.ends_with(end)).unwrap_or("/{other}");
        return (template.to_owned(), true);
    };
    let rest = rest.split_once('/').map_or("", |(_, rest)| rest);
    // Segments are decoded one by one, as the handler does: brackets and quotes may come percent-encoded.
    let decoded = |segment| percent_encoding::percent_decode_str(segment).decode_utf8_lossy().into_owned();
    let rest = rest.split('/').map(decoded).collect::<Vec<_>>().join("/");
    let rest = rest.trim_end_matches('/');
    let first = rest.split(['/', '(', '?']).next().unwrap_or_default();
    let setup = matches!(
        first,
        "" | "WhoAmI"
            | "EntityDefinitions"
            | "RelationshipDefinitions"
            | "GlobalOptionSetDefinitions"
            | "$metadata"
            | "organizations"
            | "RetrieveTotalRecordCount"
            | "sdkmessagefilters"
    );
    (format!("/{}", without_keys(rest)), setup)
}

/// `contacts(1)/firstname` to `contacts({id})/firstname`.
fn without_keys(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let (mut depth, mut quoted) = (0_u32, false);
    for c in path.chars() {
        match c {
            '\'' if depth > 0 => quoted = !quoted,
            '(' if !quoted => {
                if depth == 0 {
                    out.push('(');
                }
                depth += 1;
            }
            ')' if !quoted && depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    out.push_str(if out.ends_with("WhoAmI(") { ")" } else { "{id})" });
                }
            }
            c if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out
}

/// Reading the journal is no set-up; there is nothing else to do there.
fn journal(path: &str) -> (String, bool) {
    let bare = path.strip_prefix("/events").unwrap_or(path);
    let template = if bare.starts_with("/organizations/") { "/events" } else { "/{other}" };
    (template.to_owned(), template == "/{other}")
}

fn campaign(path: &str) -> (String, bool) {
    if matches!(path, "/ims/token/v3" | "/ims/profile/v1") {
        return (path.to_owned(), true);
    }
    let Some((_, rest)) = path.split_once("/campaign/") else {
        return ("/{other}".to_owned(), true);
    };
    let segments: Vec<&str> = rest.trim_end_matches('/').split('/').collect();
    if let ["workflow", "execution", rest @ ..] = segments.as_slice() {
        // Steering a workflow is no call to the engine's records.
        let template = match rest {
            [_] => "/workflow/execution/{id}",
            [_, "commands"] => "/workflow/execution/{id}/commands",
            [_, "activities", "activity", _, "trigger"] => "/workflow/execution/{id}/activities/activity/{id}/trigger",
            _ => "/{other}",
        };
        return (template.to_owned(), true);
    }
    let setup = segments.len() < 2 || segments.iter().any(|s| matches!(*s, "metadata" | "resourceType"));
    let named = |(at, segment): (usize, &&str)| {
        let is_key = at == 2 && !setup && !segment.starts_with("by") && !matches!(*segment, "_new" | "default");
        if is_key { "{key}".to_owned() } else { (*segment).to_owned() }
    };
    let named: Vec<String> = segments.iter().enumerate().map(named).collect();
    (format!("/{}", named.join("/")), setup)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_leave_out_what_differs_from_record_to_record() {
        let cases = [
            (Side::Dataverse, "/api/data/v9.2/contacts", "GET /contacts", false),
            (Side::Dataverse, "/api/data/v9.2/contacts(aaaaaaaa-0000)", "GET /contacts({id})", false),
            (Side::Dataverse, "/api/data/v9.2/accounts(accountnumber='a)/(b')/name", "GET /accounts({id})/name", false),
            (Side::Dataverse, "/api/data/v9.2/contacts/$count", "GET /contacts/$count", false),
            (Side::Dataverse, "/api/data/v9.2/WhoAmI()", "GET /WhoAmI()", true),
            (Side::Dataverse, "/api/data/v9.2/WhoAmI%28%29", "GET /WhoAmI()", true),
            (
                Side::Dataverse,
                "/api/data/v9.2/contacts%28aaaaaaaa-0000%29/firstname",
                "GET /contacts({id})/firstname",
                false,
            ),
            (
                Side::Dataverse,
                "/api/data/v9.2/EntityDefinitions%28LogicalName%3D%27contact%27%29/Attributes/",
                "GET /EntityDefinitions({id})/Attributes",
                true,
            ),
            (Side::Dataverse, "/t/oauth2/v2.0/token", "GET /oauth2/v2.0/token", true),
            (Side::Campaign, "/ims/token/v3", "GET /ims/token/v3", true),
            (
                Side::Campaign,
                "/acme/campaign/profileAndServicesExt/profile",
                "GET /profileAndServicesExt/profile",
                false,
            ),
            (
                Side::Campaign,
                "/acme/campaign/profileAndServicesExt/profile/42",
                "GET /profileAndServicesExt/profile/{key}",
                false,
            ),
            (
                Side::Campaign,
                "/acme/campaign/profileAndServicesExt/profile/byEmail",
                "GET /profileAndServicesExt/profile/byEmail",
                false,
            ),
            (
                Side::Campaign,
                "/acme/campaign/profileAndServicesExt/resourceType/profile",
                "GET /profileAndServicesExt/resourceType/profile",
                true,
            ),
            (Side::Journal, "/events/organizations/1/integrations/2/a-b", "GET /events", false),
            (Side::Journal, "/organizations/1/integrations/2/a-b", "GET /events", false),
            (Side::Journal, "/favicon.ico", "GET /{other}", true),
        ];
        for (side, path, template, setup) in cases {
            let expected = Route { template: template.to_owned(), setup };
            assert_eq!(route(side, &Method::GET, path), expected, "{path}");
        }
    }
}
