//! What istiod does with an EnvoyFilter, as far as our files use it. What is not known here fails the test, so that no
//! patch goes untested.

use serde_json::Value;

use crate::harness::repository;

/// All objects in a file of `istio/`.
pub fn objects(file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(repository("istio").join(file)).unwrap();
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The EnvoyFilters in a file of `istio/`.
pub fn filters(file: &str) -> Vec<Value> {
    objects(file).into_iter().filter(|object| object["kind"] == "EnvoyFilter").collect()
}

/// The context that all patches of an EnvoyFilter are for.
pub fn context(filter: &Value) -> &str {
    let contexts: Vec<_> = patches(filter).iter().map(|patch| patch["match"]["context"].as_str().unwrap()).collect();
    assert!(contexts.windows(2).all(|pair| pair[0] == pair[1]), "{contexts:?}");
    contexts[0]
}

fn patches(filter: &Value) -> &[Value] {
    filter["spec"]["configPatches"].as_array().unwrap()
}

/// Puts the patches of an EnvoyFilter into an HTTP connection manager, a network filter with inline routes.
pub fn apply(filter: &Value, manager: &mut Value) {
    for config_patch in patches(filter) {
        let (place, patch) = (&config_patch["match"], &config_patch["patch"]);
        let (operation, value) = (patch["operation"].as_str().unwrap(), &patch["value"]);
        let config = &mut manager["typed_config"];
        match (config_patch["applyTo"].as_str().unwrap(), operation) {
            ("HTTP_FILTER", "INSERT_BEFORE") => {
                let name = &place["listener"]["filterChain"]["filter"]["subFilter"]["name"];
                let filters = config["http_filters"].as_array_mut().unwrap();
                let at = filters.iter().position(|filter| filter["name"] == *name).expect("no such filter");
                filters.insert(at, value.clone());
            }
            ("NETWORK_FILTER", "MERGE") => {
                assert_eq!(place["listener"]["filterChain"]["filter"]["name"], manager["name"]);
                merge(manager, value);
            }
            ("VIRTUAL_HOST", "MERGE") => virtual_hosts(config).iter_mut().for_each(|host| merge(host, value)),
            ("HTTP_ROUTE", "MERGE") => {
                let name = &place["routeConfiguration"]["vhost"]["route"]["name"];
                let routes = virtual_hosts(config).iter_mut().flat_map(|host| host["routes"].as_array_mut().unwrap());
                let mut named: Vec<_> = routes.filter(|route| route["name"] == *name).collect();
                assert!(!named.is_empty(), "no route is named {name}");
                named.iter_mut().for_each(|route| merge(route, value));
            }
            (kind, operation) => panic!("the tests do not know {operation} of {kind}"),
        }
    }
}

fn virtual_hosts(config: &mut Value) -> &mut Vec<Value> {
    config["route_config"]["virtual_hosts"].as_array_mut().unwrap()
}

/// As Protocol Buffers merge: messages field by field, lists one after the other, the rest replaced.
fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                match into.get_mut(key) {
                    Some(there) => merge(there, value),
                    None => drop(into.insert(key.clone(), value.clone())),
                }
            }
        }
        (Value::Array(into), Value::Array(from)) => into.extend(from.iter().cloned()),
        (into, from) => *into = from.clone(),
    }
}
