//! Dead letters as they are shown: without their payloads.

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use sync_core::traits::{DeadLetter, DeadLetterQuery, Rejection};
use sync_core::{StoreError, StreamId};

use crate::error::store_error;
use crate::row::{key, signed, unsigned};

pub(crate) fn list(connection: &Connection, query: &DeadLetterQuery) -> Result<Vec<DeadLetter>, StoreError> {
    let mut sql = String::from(
        "SELECT d.id, s.name, d.key, d.code, d.field, d.explanation, d.attempts, d.at_ms
         FROM dead d JOIN stream s ON s.id = d.stream WHERE d.id > ?",
    );
    let mut values = vec![Value::Integer(signed(query.after.unwrap_or(0)))];
    if let Some(stream) = &query.stream {
        sql.push_str(" AND s.name = ?");
        values.push(Value::Text(stream.as_str().to_owned()));
    }
    if let Some(code) = &query.code {
        sql.push_str(" AND d.code = ?");
        values.push(Value::Text(code.clone()));
    }
    if !query.ids.is_empty() {
        let marks = vec!["?"; query.ids.len()].join(",");
        sql.push_str(" AND d.id IN (");
        sql.push_str(&marks);
        sql.push(')');
        values.extend(query.ids.iter().map(|id| Value::Integer(signed(*id))));
    }
    sql.push_str(" ORDER BY d.id LIMIT ?");
    values.push(Value::Integer(i64::try_from(query.limit).unwrap_or(i64::MAX)));
    let mut statement = connection.prepare(&sql).map_err(store_error)?;
    let mut rows = statement.query(params_from_iter(values)).map_err(store_error)?;
    let mut letters = Vec::new();
    while let Some(row) = rows.next().map_err(store_error)? {
        let bytes: Vec<u8> = row.get(2).map_err(store_error)?;
        letters.push(DeadLetter {
            id: unsigned(row.get(0).map_err(store_error)?),
            stream: StreamId::new(row.get::<_, String>(1).map_err(store_error)?),
            key: key(&bytes)?,
            rejection: Rejection {
                code: row.get(3).map_err(store_error)?,
                field: row.get(4).map_err(store_error)?,
                explanation: row.get(5).map_err(store_error)?,
            },
            attempts: u32::try_from(row.get::<_, i64>(6).map_err(store_error)?).unwrap_or(u32::MAX),
            at_ms: row.get(7).map_err(store_error)?,
        });
    }
    Ok(letters)
}
