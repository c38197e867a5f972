//! The sandbox's control interface, as a host's test would use it.

use serde_json::{Value, json};

pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A client of the control interface.
#[derive(Debug)]
pub(crate) struct Control {
    http: reqwest::Client,
    base: String,
}

impl Control {
    pub(crate) fn new(info: &Value) -> Outcome<Self> {
        let base = info["control"].as_str().ok_or("the sandbox has no control address")?.to_owned();
        Ok(Self { http: reqwest::Client::new(), base })
    }

    pub(crate) async fn records(&self, side: &str, table: &str) -> Outcome<Vec<Value>> {
        self.lines(&format!("/records/{side}/{table}")).await
    }

    /// An answer that is one JSON value a line.
    pub(crate) async fn lines(&self, path: &str) -> Outcome<Vec<Value>> {
        let url = format!("{}{path}", self.base);
        let text = self.http.get(url).send().await?.error_for_status()?.text().await?;
        text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    pub(crate) async fn mutate(&self, table: &str, counts: [u64; 3], seed: u64) -> Outcome<()> {
        let [create, update, delete] = counts;
        let body = json!({"side": "dataverse", "table": table, "create": create, "update": update, "delete": delete, "seed": seed});
        self.post("/mutate", &body).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Outcome<()> {
        self.http.post(format!("{}{path}", self.base)).json(body).send().await?.error_for_status()?;
        Ok(())
    }

    pub(crate) async fn put(&self, side: &str, table: &str, id: &str, row: &Value) -> Outcome<()> {
        let url = format!("{}/records/{side}/{table}/{id}", self.base);
        self.http.put(url).json(row).send().await?.error_for_status()?;
        Ok(())
    }

    pub(crate) async fn counters(&self) -> Outcome<Value> {
        Ok(self.http.get(format!("{}/counters", self.base)).send().await?.error_for_status()?.json().await?)
    }
}
