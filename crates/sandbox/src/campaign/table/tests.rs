use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::campaign::CampaignScenario;

fn schema() -> Schema {
    Schema::compile(&CampaignScenario::default()).unwrap()
}

fn row(resource: &Resource, key: &str, name: &str) -> Row {
    let mut cells: Vec<&[u8]> = resource.columns.iter().map(|c| c.default.as_slice()).collect();
    cells[usize::from(resource.column("cusVehicleId").unwrap())] = key.as_bytes();
    cells[usize::from(resource.column("cusName").unwrap())] = name.as_bytes();
    Row::build(&resource.columns, &cells, 1, 2)
}

#[test]
fn a_row_keeps_what_differs_from_its_defaults() {
    let schema = schema();
    let vehicle = schema.find("cusVehicle").unwrap();
    let long = "x".repeat(300);
    let row = row(vehicle, "k", &long);
    assert_eq!(row.cells().count(), 2);
    assert_eq!(row.get(&vehicle.columns, vehicle.column("cusName").unwrap()), long.as_bytes());
    assert_eq!(row.get(&vehicle.columns, vehicle.column("cusSeats").unwrap()), b"0");
    assert_eq!(row.spread(&vehicle.columns).len(), vehicle.columns.len());
    assert_eq!(row.data.len(), 2 + 1 + 3 + 300);
}

#[derive(Debug, Clone)]
enum Step {
    Insert(u8),
    Rename(u8, u8),
    Remove(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0_u8..12).prop_map(Step::Insert),
        (0_u8..12, 0_u8..12).prop_map(|(a, b)| Step::Rename(a, b)),
        (0_u8..12).prop_map(Step::Remove),
    ]
}

proptest! {
    #[test]
    fn the_index_agrees_with_a_map(steps in proptest::collection::vec(step(), 0..80)) {
        let schema = schema();
        let vehicle = schema.find("cusVehicle").unwrap();
        let columns = &vehicle.columns;
        let mut tables = Tables::new(&schema);
        let table = tables.of_mut(vehicle);
        let mut model: BTreeMap<u8, u32> = BTreeMap::new();
        let key = |n: u8| format!("key{n}");
        for step in steps {
            match step {
                Step::Insert(n) => {
                    let new = row(vehicle, &key(n), "x");
                    let conflict = table.conflict(columns, &new.spread(columns), None);
                    prop_assert_eq!(conflict.map(|(_, at)| at), model.get(&n).copied());
                    if conflict.is_none() {
                        model.insert(n, table.insert(columns, new).unwrap());
                    }
                }
                Step::Rename(from, to) => {
                    if let Some(at) = model.get(&from).copied()
                        && (from == to || !model.contains_key(&to))
                    {
                        table.replace(columns, at, row(vehicle, &key(to), "y"));
                        model.remove(&from);
                        model.insert(to, at);
                    }
                }
                Step::Remove(n) => {
                    if let Some(at) = model.remove(&n) {
                        prop_assert!(table.remove(columns, at));
                        prop_assert!(!table.remove(columns, at));
                    }
                }
            }
            prop_assert_eq!(table.live(), model.len() as u64);
            for n in 0..12 {
                prop_assert_eq!(table.find(columns, 0, &[key(n).as_bytes()]), model.get(&n).copied());
            }
        }
    }
}
