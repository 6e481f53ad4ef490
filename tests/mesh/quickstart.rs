//! `docs/quickstart-envoy.md`, run as it stands, but for addresses.

use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::harness::{Configuration, Process, Site, envoy_binary, eventually, repository};

/// The code blocks of a document: their language and text.
fn blocks(document: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let text: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push((language.to_owned(), text.join("\n") + "\n"));
        }
    }
    blocks
}

/// A line without its numbers, which differ from run to run.
fn shape(line: &str) -> String {
    let mut shape = String::new();
    for character in line.trim().chars() {
        match character {
            '0'..='9' if shape.ends_with('#') => {}
            '0'..='9' => shape.push('#'),
            other => shape.push(other),
        }
    }
    shape
}

fn place(site: &Site, name: &str, ports: &Ports) {
    let configuration = Configuration::read(name)
        .patient()
        .address("Envoy's own administration", &[site.free_address()])
        .address("where clients connect", &[ports.envoy])
        .address("Tidegate", &[ports.grpc])
        .address("your service", &[ports.service]);
    std::fs::write(site.path(&format!("deploy/envoy/{name}")), configuration.text()).unwrap();
}

struct Ports {
    envoy: SocketAddr,
    grpc: SocketAddr,
    http: SocketAddr,
    service: SocketAddr,
}

/// What the shell has started, which would outlive a test that fails.
struct Group(PathBuf);

impl Drop for Group {
    fn drop(&mut self) {
        let pid = std::fs::read_to_string(&self.0).ok().and_then(|text| Pid::from_raw(text.trim().parse().ok()?));
        if let Some(pid) = pid {
            // An error means that nothing of it is left.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

#[tokio::test]
async fn the_quickstart_leads_to_the_first_429_twice() {
    let document = std::fs::read_to_string(repository("docs/quickstart-envoy.md")).unwrap();
    let site = Site::new();
    let ports = Ports {
        envoy: site.free_address(),
        grpc: site.free_address(),
        http: site.free_address(),
        service: site.free_address(),
    };
    std::fs::create_dir_all(site.path("deploy/envoy")).unwrap();
    place(&site, "ratelimit.yaml", &ports);
    place(&site, "ext-authz.yaml", &ports);
    std::fs::create_dir(site.path("bin")).unwrap();
    symlink(env!("CARGO_BIN_EXE_tidegate"), site.path("bin/tidegate")).unwrap();
    symlink(envoy_binary(), site.path("bin/envoy")).unwrap();

    // Each block's output begins with a line of ours.
    let mut script = "echo $$ > shell.pid\n".to_owned();
    let mut expected = Vec::new();
    let all = blocks(&document);
    for (position, (language, text)) in all.iter().enumerate().filter(|(_, (language, _))| language == "sh") {
        assert_eq!(language, "sh");
        script.push_str(&format!("echo '=== block {position}'\n{text}"));
        if let Some((_, output)) = all.get(position + 1).filter(|(language, _)| language == "text") {
            expected.push((position, output));
        }
    }
    assert_eq!(expected.len(), 6, "outputs that the document shows");
    let http_server = format!("{} --bind {}", ports.service.port(), ports.service.ip());
    for (from, to) in [
        ("localhost:10000", ports.envoy.to_string()),
        ("localhost:8080", ports.http.to_string()),
        ("localhost:8000", ports.service.to_string()),
        ("http.server 8000", format!("http.server {http_server}")),
    ] {
        assert!(script.contains(from), "{from} is in the document");
        script = script.replace(from, &to);
    }

    let path = format!("{}:{}", site.path("bin").display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("bash");
    command
        .args(["-c", &script])
        .current_dir(site.folder())
        .env("PATH", path)
        .env("TIDEGATE_GRPC__ADDRESS", ports.grpc.to_string())
        .env("TIDEGATE_HTTP__ADDRESS", ports.http.to_string())
        .env("TIDEGATE_ADMIN__ADDRESS", site.free_address().to_string())
        .env("TIDEGATE_GRPC__WORKERS", "1")
        // Nobody else waits for it.
        .env("TIDEGATE_SHUTDOWN__DRAIN_PERIOD", "0s")
        .process_group(0);
    let _group = Group(site.path("shell.pid"));
    let shell = Process::start(&site, "quickstart", &mut command);
    // It ends with the last block, which tidies up.
    let last = all.iter().rposition(|(language, _)| language == "sh").unwrap();
    eventually("the last block is reached", || async {
        shell.stdout().contains(&format!("=== block {last}")).then_some(())
    })
    .await;
    let output = shell.stdout();
    eventually("it has tidied up", || async { (!site.path("quickstart").exists()).then_some(()) }).await;

    let outputs: std::collections::HashMap<_, _> = output
        .split("=== block ")
        .skip(1)
        .map(|part| part.split_once('\n').unwrap())
        .map(|(number, text)| (number.parse::<usize>().unwrap(), text))
        .collect();
    for (position, expected) in expected {
        let output = outputs[&position];
        if expected.lines().all(|line| line.parse::<u16>().is_ok()) {
            assert_eq!(output, expected, "block {position}");
            continue;
        }
        let shapes: Vec<_> = output.lines().map(shape).collect();
        for line in expected.lines() {
            assert!(shapes.contains(&shape(line)), "block {position}: no {line:?} in\n{output}");
        }
    }
    // Which rule it was, as the access log has it.
    for rule in ["per-address", "per-user"] {
        assert!(output.contains(&format!(r#""rule":"{rule}""#)), "{output}");
    }
}
