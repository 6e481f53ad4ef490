//! Addresses, of which the reference names host and port apart, and TLS.

use super::{Env, Reference, Weight};
use crate::config::scalar;

/// The name of a host, the name of a port, and the field that both make.
const ADDRESSES: [(&str, &str, &str); 3] = [
    ("HOST", "PORT", "http.address"),
    ("GRPC_HOST", "GRPC_PORT", "grpc.address"),
    ("DEBUG_HOST", "DEBUG_PORT", "admin.address"),
];

pub(super) fn read(env: &Env<'_>, current: impl Fn(&str) -> Option<String>, found: &mut Reference) {
    for (host, port, field) in ADDRESSES {
        address(env, host, port, field, &current, found);
    }
    tls(env, found);
}

/// Where only one of the two is set, the other half of the address stays as it is.
fn address(
    env: &Env<'_>,
    host_name: &str,
    port_name: &str,
    field: &str,
    current: impl Fn(&str) -> Option<String>,
    found: &mut Reference,
) {
    let (host, port) = (env.get(host_name), env.get(port_name));
    let origin = match (host, port) {
        (None, None) => return,
        (Some(_), None) => host_name.to_owned(),
        (None, Some(_)) => port_name.to_owned(),
        (Some(_), Some(_)) => format!("{host_name} and {port_name}"),
    };
    // A wrong address below is told on its own.
    let Some(mut address) = current(field).and_then(|text| scalar::parse_address(&text).ok()) else { return };
    if let Some(host) = host {
        match scalar::parse_host(host) {
            Some(ip) => address.set_ip(ip),
            None => found.error(host_name, format!("\"{host}\" is no IP address; write one such as 0.0.0.0")),
        }
    }
    if let Some(port) = port {
        match port.parse() {
            Ok(port) => address.set_port(port),
            Err(_) if port.contains("://") => {
                let advice = "; Kubernetes sets this for a service of that name: set enableServiceLinks: false";
                found.error(port_name, format!("\"{port}\" is no port{advice}"));
            }
            Err(_) => found.error(port_name, format!("\"{port}\" is no port; write 1 to 65535")),
        }
    }
    found.set(field, address.to_string(), &origin);
}

fn tls(env: &Env<'_>, found: &mut Reference) {
    let fields = [
        ("GRPC_SERVER_TLS_CERT", "grpc.tls.certificate"),
        ("GRPC_SERVER_TLS_KEY", "grpc.tls.key"),
        ("GRPC_CLIENT_TLS_CACERT", "grpc.tls.client_ca"),
        ("GRPC_CLIENT_TLS_SAN", "grpc.tls.client_san"),
    ];
    let on = found.flag(env, "GRPC_SERVER_USE_TLS") == Some(true);
    for (name, field) in fields {
        match env.get(name) {
            Some(value) if on => found.set(field, value, name),
            Some(_) => found.note(Weight::Info, name, "has no effect without GRPC_SERVER_USE_TLS=true"),
            None => {}
        }
    }
    if on && (!env.contains_key("GRPC_SERVER_TLS_CERT") || !env.contains_key("GRPC_SERVER_TLS_KEY")) {
        found.error(
            "GRPC_SERVER_USE_TLS",
            "TLS needs a certificate; set GRPC_SERVER_TLS_CERT and GRPC_SERVER_TLS_KEY too",
        );
    }
}
