//! The Helm chart and the kustomize manifests: rendered, held against each other, and shown to an API server; and the
//! compose file, to the validator of its specification.

use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::documents::{entries, items, parse, seconds, text, tidegate};
use crate::harness::{ApiServer, part, repository, succeeded, wait_for};

const CHART: &str = "deploy/helm/tidegate";

/// Values that people have, each with a name.
const FORMS: [(&str, &str); 9] = [
    ("as it stands", "{}"),
    ("rules in files", "rules: { files: { edge.yaml: 'domain: edge' } }"),
    ("rules in a ConfigMap made elsewhere", "rules: { existingConfigMap: my-rules }"),
    (
        "Redis and Postgres",
        "replicas: 3
redis: { type: cluster, urls: ['redis-0:6379', 'redis-1:6379'], passwordSecret: { name: redis } }
database: { url: 'postgres://tidegate@postgres:5432/tidegate', passwordSecret: { name: postgres, key: pw } }",
    ),
    (
        "everything from Secrets, with TLS",
        "replicas: 2
redis:
  type: sentinel
  sentinelMaster: mymaster
  username: tidegate
  urlsSecret: { name: redis }
  passwordSecret: { name: redis }
  tls: { enabled: true, caSecret: { name: authority } }
database:
  urlSecret: { name: postgres }
  tls: { enabled: true, caSecret: { name: authority, key: root.pem } }
  migration: { urlSecret: { name: owner }, passwordSecret: { name: owner } }
rules: { copyKeySecret: { name: keys } }
extAuthz: { secretKeySecret: { name: keys } }
tls: { secretName: serving, clientCa: true, clientSan: [envoy.gateways.svc] }",
    ),
    (
        "scaled, without the migration",
        "autoscaling: { enabled: true, maxReplicas: 20 }
redis: { urls: ['redis:6379'], tls: { enabled: true } }
database: { url: 'postgres://tidegate@postgres/tidegate', migration: { enabled: false } }
metrics: { serviceMonitor: { enabled: true, labels: { release: prometheus } } }
settings: { limiter: { shadow_mode: true }, redis: { deadline: 5ms }, telemetry: { logs: { level: warn } } }",
    ),
    (
        "placed and closed off",
        "image: { digest: 'sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' }
imagePullSecrets: [{ name: registry }]
nodeSelector: { disk: fast }
tolerations: [{ key: gateways, operator: Exists }]
affinity: { nodeAffinity: {} }
priorityClassName: system-cluster-critical
topologySpread: { whenUnsatisfiable: DoNotSchedule }
serviceAccount: { create: false, name: shared }
podAnnotations: { a: b }
podLabels: { team: edge }
extraEnv: [{ name: RUST_BACKTRACE, value: '1' }]
extraVolumes: [{ name: scratch, emptyDir: {} }]
extraVolumeMounts: [{ name: scratch, mountPath: /scratch }]
networkPolicy:
  grpcFrom: [{ namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: istio-system } } }]
  httpFrom: [{ podSelector: { matchLabels: { role: admin } } }]
  metricsFrom: [{ ipBlock: { cidr: 10.0.0.0/8 } }]
  egress: [{ to: [{ namespaceSelector: {} }] }]",
    ),
    ("rules by xDS", "settings: { rules: { xds: { server: 'envoy-gateway.envoy-gateway-system.svc:18001' } } }"),
    (
        "everything switched off",
        "networkPolicy: { enabled: false }
headlessService: { enabled: false }
topologySpread: { enabled: false }
podDisruptionBudget: { enabled: false }
serviceAccount: { create: false }
shutdown: { drainSeconds: 0, graceSeconds: 0 }
service: { type: LoadBalancer, appProtocol: grpc, annotations: { a: b } }
fullnameOverride: limits",
    ),
];

/// Values that cannot be meant, and a part of what is said about them.
const REFUSED: [(&str, &str); 25] = [
    ("replicaCount: 3", "additional properties 'replicaCount' not allowed"),
    ("replicas: 0", "/replicas"),
    ("replicas: many", "/replicas"),
    ("image: { tag: latest }", "/image/tag"),
    ("image: { digest: abc }", "/image/digest"),
    ("replicas: 2", "counters in memory are each replica's own"),
    ("autoscaling: { enabled: true }", "counters in memory are each replica's own"),
    ("redis: { urls: ['r:1'] }\nautoscaling: { enabled: true, minReplicas: 5, maxReplicas: 4 }", "is more than"),
    ("redis: { urls: ['redis://:secret@redis:6379'] }", "/redis/urls/0"),
    ("redis: { urls: ['redis:6379'], urlsSecret: { name: redis } }", "exclude each other"),
    ("redis: { type: sentinel, urls: ['redis:26379'] }", "redis.sentinelMaster"),
    ("redis: { type: replicated }", "/redis/type"),
    ("redis: { password: hunter2 }", "'password' not allowed"),
    ("database: { url: 'postgres://tidegate:secret@postgres/tidegate' }", "/database/url"),
    ("database: { url: 'mysql://tidegate@db/tidegate' }", "/database/url"),
    ("database: { url: 'postgres://db/t' }\nrules: { files: { a.yaml: 'domain: a' } }", "either in the database or"),
    ("rules: { files: { a.txt: 'domain: a' } }", "invalid propertyName 'a.txt'"),
    ("rules: { files: { a.yaml: 'domain: a' }, existingConfigMap: b }", "exclude each other"),
    ("settings: { grpc: { address: '0.0.0.0:1' } }", "settings.grpc.address is the chart's to set"),
    ("settings: { redis: { urls: ['redis:6379'] } }", "set instead: redis.urls"),
    ("settings: { redis: { deadline: 5ms } }", "settings.redis needs redis.urls"),
    ("settings: { limit: {} }", "'limit' not allowed"),
    ("settings: { rules: { xds: {} } }\ndatabase: { url: 'postgres://db/t' }", "rules come from one place"),
    ("tls: { clientSan: [a] }", "tls.clientSan needs tls.clientCa"),
    ("resources: { requests: { cpu: lots } }", "/resources/requests/cpu"),
];

/// `helm template` with these values.
fn template(values: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("values.yaml");
    std::fs::write(&file, values).unwrap();
    // Without a server to ask, helm takes Kubernetes to be a very old one.
    let arguments = ["template", "tidegate", CHART, "--namespace", "tidegate", "--kube-version", "v1.34.4", "--values"];
    Command::new(part("helm")).current_dir(repository("")).args(arguments).arg(file).output().unwrap()
}

fn kustomize(overlay: &str) -> String {
    let mut command = Command::new(part("kubectl"));
    command.current_dir(repository("")).args(["kustomize", &format!("deploy/kubernetes/overlays/{overlay}")]);
    succeeded(&format!("kubectl kustomize {overlay}"), &command.output().unwrap())
}

/// What was rendered.
struct Rendered {
    what: String,
    objects: Vec<Value>,
}

impl Rendered {
    fn new(what: &str, text: &str) -> Self {
        Self { what: what.to_owned(), objects: parse(text).into_iter().filter(|object| !object.is_null()).collect() }
    }

    fn all(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.objects.iter().filter(move |object| object["kind"] == kind)
    }

    fn one(&self, kind: &str) -> &Value {
        let mut all = self.all(kind);
        let one = all.next().unwrap_or_else(|| panic!("{}: no {kind}", self.what));
        assert!(all.next().is_none(), "{}: several of {kind}", self.what);
        one
    }

    fn pod(&self) -> &Value {
        &self.one("Deployment")["spec"]["template"]["spec"]
    }

    /// `tidegate.yaml`, from the ConfigMap that the pod mounts.
    fn settings(&self) -> &str {
        let volume = items(&self.pod()["volumes"]).find(|volume| volume["name"] == "settings").unwrap();
        let name = &volume["configMap"]["name"];
        let map = self.all("ConfigMap").find(|map| map["metadata"]["name"] == *name);
        text(&map.unwrap_or_else(|| panic!("{}: no ConfigMap {name}", self.what))["data"]["tidegate.yaml"])
    }

    /// What every form of it promises.
    fn check(&self) {
        self.pods_are_confined();
        self.volumes_and_mounts_agree();
        self.selectors_find_the_pods();
        self.settings_load();
        self.replicas_are_protected();
    }

    fn pods_are_confined(&self) {
        for object in self.all("Deployment").chain(self.all("Job")) {
            let pod = &object["spec"]["template"]["spec"];
            let security = &pod["securityContext"];
            assert_eq!(
                [&security["runAsNonRoot"], &security["runAsUser"]],
                [&json!(true), &json!(65532)],
                "{}",
                self.what
            );
            assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault", "{}", self.what);
            assert_eq!(pod["automountServiceAccountToken"], false, "{}", self.what);
            for container in items(&pod["containers"]) {
                let security = &container["securityContext"];
                assert_eq!(security["allowPrivilegeEscalation"], false, "{}", self.what);
                assert_eq!(security["readOnlyRootFilesystem"], true, "{}", self.what);
                assert_eq!(security["capabilities"]["drop"], json!(["ALL"]), "{}", self.what);
                let image = text(&container["image"]);
                assert!(image.contains(':') && !image.ends_with(":latest"), "{}: {image}", self.what);
                for resource in ["/requests/cpu", "/requests/memory", "/limits/memory"] {
                    assert!(container["resources"].pointer(resource).is_some(), "{}: {resource}", self.what);
                }
            }
        }
        let container = &self.pod()["containers"][0];
        for (probe, path) in [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")] {
            assert_eq!(container[probe]["httpGet"], json!({ "path": path, "port": "http" }), "{}", self.what);
        }
    }

    fn volumes_and_mounts_agree(&self) {
        for object in self.all("Deployment").chain(self.all("Job")) {
            let pod = &object["spec"]["template"]["spec"];
            let names = |list: &Value| {
                let mut names: Vec<_> = items(list).map(|item| text(&item["name"]).to_owned()).collect();
                names.sort();
                names
            };
            let mounted = names(&pod["containers"][0]["volumeMounts"]);
            assert_eq!(names(&pod["volumes"]), mounted, "{}: {}", self.what, object["kind"]);
        }
        // Every file that the settings name is one that is mounted.
        let settings: Value = parse(self.settings()).remove(0);
        let mut files = Vec::new();
        collect_files(&settings, &mut files);
        let mounts: Vec<_> = items(&self.pod()["containers"][0]["volumeMounts"]).collect();
        for file in files {
            let mount = mounts.iter().find(|mount| file.starts_with(text(&mount["mountPath"])));
            let mount = mount.unwrap_or_else(|| panic!("{}: nothing is mounted at {file}", self.what));
            if mount["name"] == "secrets" {
                let inside = file.strip_prefix("/etc/tidegate/secrets/").unwrap();
                let volume = items(&self.pod()["volumes"]).find(|volume| volume["name"] == "secrets").unwrap();
                let items = items(&volume["projected"]["sources"]).flat_map(|source| items(&source["secret"]["items"]));
                assert!(items.into_iter().any(|item| item["path"] == inside), "{}: no Secret for {file}", self.what);
            }
        }
    }

    fn selectors_find_the_pods(&self) {
        let template = &self.one("Deployment")["spec"]["template"];
        let chosen = |selector: &Value| {
            !selector.as_object().unwrap().is_empty()
                && entries(selector).all(|(name, value)| template["metadata"]["labels"][name] == *value)
        };
        let ports = &template["spec"]["containers"][0]["ports"];
        assert!(chosen(&self.one("Deployment")["spec"]["selector"]["matchLabels"]), "{}", self.what);
        for service in self.all("Service") {
            assert!(chosen(&service["spec"]["selector"]), "{}", self.what);
            for port in items(&service["spec"]["ports"]) {
                assert!(items(ports).any(|known| known["name"] == port["targetPort"]), "{}: {port}", self.what);
            }
        }
        for policy in self.all("NetworkPolicy").chain(self.all("PodDisruptionBudget")) {
            let spec = &policy["spec"];
            let selector = if spec["podSelector"].is_null() { &spec["selector"] } else { &spec["podSelector"] };
            assert!(chosen(&selector["matchLabels"]), "{}", self.what);
        }
        for job in self.all("Job") {
            let labels = &job["spec"]["template"]["metadata"]["labels"];
            let selector = &self.one("Deployment")["spec"]["selector"]["matchLabels"];
            assert!(entries(selector).any(|(name, value)| labels[name] != *value), "{}: a Job serves", self.what);
        }
        for monitor in self.all("ServiceMonitor") {
            let wanted = &monitor["spec"]["selector"]["matchLabels"];
            let found = self
                .all("Service")
                .filter(|service| entries(wanted).all(|(name, value)| service["metadata"]["labels"][name] == *value));
            assert_eq!(found.count(), 1, "{}: each pod is scraped once", self.what);
        }
    }

    /// Tidegate takes them, with the environment of its container.
    fn settings_load(&self) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tidegate.yaml");
        std::fs::write(&file, self.settings()).unwrap();
        let mut command = tidegate();
        command.args(["serve", "--print-config"]);
        for variable in items(&self.pod()["containers"][0]["env"]) {
            let value = match (text(&variable["name"]), variable["value"].as_str()) {
                ("TIDEGATE_CONFIG", _) => file.to_str().unwrap(),
                ("TIDEGATE_REDIS__URLS", None) => "redis-0:26379,redis-1:26379",
                ("TIDEGATE_DATABASE__URL", None) => "postgres://tidegate:secret@postgres/tidegate",
                (_, Some(value)) => value,
                (name, None) => panic!("{}: {name}", self.what),
            };
            command.env(text(&variable["name"]), value);
        }
        let printed = succeeded(&format!("{}: serve --print-config", self.what), &command.output().unwrap());
        let printed: Value = parse(&printed).remove(0);
        let shutdown = &printed["shutdown"];
        let taken = seconds(text(&shutdown["drain_period"])) + seconds(text(&shutdown["grace_period"]));
        assert!(self.pod()["terminationGracePeriodSeconds"].as_u64().unwrap() > taken, "{}", self.what);
    }

    fn replicas_are_protected(&self) {
        let spec = &self.one("Deployment")["spec"];
        let scaled = self.all("HorizontalPodAutoscaler").count() == 1;
        assert_eq!(spec["replicas"].is_null(), scaled, "{}: the autoscaler alone says how many", self.what);
        let several = scaled || spec["replicas"].as_u64().unwrap() > 1;
        assert!(several || self.all("PodDisruptionBudget").count() == 0, "{}: a node could not be drained", self.what);
        assert_eq!(spec["strategy"]["rollingUpdate"]["maxUnavailable"], 0, "{}", self.what);
    }
}

/// Absolute paths of files in settings; sockets and folders that Tidegate makes are none.
fn collect_files(value: &Value, found: &mut Vec<String>) {
    for (name, value) in entries(value) {
        match value.as_str() {
            Some(path) if path.starts_with('/') && name != "unix_socket" => found.push(path.to_owned()),
            _ => collect_files(value, found),
        }
    }
}

#[test]
#[ignore = "needs helm: scripts/test-control-planes"]
fn helm_finds_nothing_to_say_about_the_chart() {
    let output = Command::new(part("helm")).current_dir(repository("")).args(["lint", "--strict", CHART]).output();
    let output = succeeded("helm lint", &output.unwrap());
    assert!(!output.contains("[WARNING]") && !output.contains("[ERROR]"), "{output}");
}

#[test]
#[ignore = "needs helm: scripts/test-control-planes"]
fn what_cannot_be_meant_is_refused() {
    for (values, expected) in REFUSED {
        let output = template(values);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{values}: is accepted");
        assert!(error.contains(expected), "{values}: {error}");
    }
}

#[tokio::test]
#[ignore = "needs an API server: scripts/test-control-planes"]
async fn an_api_server_accepts_every_form() {
    let api = ApiServer::start().await;
    api.namespaces(&["tidegate"]);
    // Whatever does not fit the strictest Pod Security Standard is warned of.
    let label = "pod-security.kubernetes.io/warn=restricted";
    api.run("kubectl", &["label", "namespace", "tidegate", label]);
    let documented = documented();
    let mut forms: Vec<(&str, String)> = Vec::new();
    for (name, values) in FORMS.into_iter().chain([("docs/kubernetes.md", documented.as_str())]) {
        forms.push((name, succeeded(&format!("helm template, {name}"), &template(values))));
    }
    for overlay in ["memory", "redis-postgres"] {
        forms.push((overlay, kustomize(overlay)));
    }
    for (name, text) in forms {
        let rendered = Rendered::new(name, &text);
        rendered.check();
        // The operator that knows these is not here.
        let known = rendered.objects.iter().filter(|object| object["kind"] != "ServiceMonitor");
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": known.collect::<Vec<_>>() });
        let output = dry_run(&api, &list.to_string());
        succeeded(&format!("kubectl apply --dry-run=server, {name}"), &output);
        let warnings = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(warnings.is_empty(), "{name}: {warnings}");
    }
}

/// The values that docs/kubernetes.md shows.
fn documented() -> String {
    let page = std::fs::read_to_string(repository("docs/kubernetes.md")).unwrap();
    let shown = page.split_once("```yaml\n# production.yaml\n").and_then(|(_, rest)| rest.split_once("```"));
    shown.expect("the values in docs/kubernetes.md").0.to_owned()
}

fn dry_run(api: &ApiServer, objects: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("objects.json");
    std::fs::write(&file, objects).unwrap();
    let mut command = api.command("kubectl");
    command.args(["apply", "--server-side", "--dry-run=server", "--validate=strict", "--namespace", "tidegate", "-f"]);
    command.arg(file).output().unwrap()
}

#[tokio::test]
#[ignore = "needs an API server: scripts/test-control-planes"]
async fn helm_migrates_before_it_installs_and_upgrades() {
    let api = ApiServer::start().await;
    api.namespaces(&["tidegate"]);
    let helm = |verb: &str, values: &[&str]| {
        let mut command = api.command("helm");
        command.args([verb, "tidegate", CHART, "--namespace", "tidegate"]).args(values);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let exists = |object: &str| {
        let mut command = api.command("kubectl");
        command.args(["--namespace", "tidegate", "get", object]).output().unwrap().status.success()
    };
    let database = "database.url=postgres://tidegate@postgres/tidegate";

    // Nobody runs Jobs here, so helm waits for the migration until it is said to be done.
    for verb in ["install", "upgrade"] {
        let running = helm(verb, &["--set", database]).spawn().unwrap();
        wait_for("the migration begins", || std::future::ready(exists("job/tidegate-migrate").then_some(()))).await;
        if verb == "install" {
            assert!(!exists("deployment/tidegate"), "nothing is installed before the migration");
        }
        complete(&api, "tidegate-migrate");
        let output = tokio::task::spawn_blocking(|| running.wait_with_output().unwrap()).await.unwrap();
        let notes = succeeded(&format!("helm {verb}"), &output);
        assert!(notes.contains("Rules are in Postgres") && notes.contains("tidegate.tidegate.svc:8081"), "{notes}");
        assert!(exists("deployment/tidegate") && !exists("job/tidegate-migrate"));
    }

    // Without a database there is nothing to wait for.
    let changed = ["--set", "rules.files.edge\\.yaml=domain: edge"];
    let notes = succeeded("helm upgrade", &helm("upgrade", &changed).output().unwrap());
    assert!(notes.contains("ConfigMap tidegate-rules"), "{notes}");
    assert!(exists("configmap/tidegate-rules"));
    api.run("helm", &["uninstall", "tidegate", "--namespace", "tidegate"]);
    assert!(!exists("deployment/tidegate") && !exists("service/tidegate-headless"));
}

/// Says of a Job that it has done its work, as the controller of Jobs would.
fn complete(api: &ApiServer, job: &str) {
    let condition =
        |kind: &str| json!({ "type": kind, "status": "True", "lastTransitionTime": "2030-01-01T00:00:01Z" });
    let status = json!({ "status": {
        "startTime": "2030-01-01T00:00:00Z",
        "completionTime": "2030-01-01T00:00:01Z",
        "succeeded": 1,
        "conditions": [condition("SuccessCriteriaMet"), condition("Complete")],
    } });
    let patch = ["patch", "job", job, "--subresource=status", "--type=merge", "--patch", &status.to_string()];
    api.run("kubectl", &[&["--namespace", "tidegate"][..], &patch].concat());
}

/// Whoever changes one changes the other.
#[test]
#[ignore = "needs helm and kubectl: scripts/test-control-planes"]
fn chart_and_manifests_have_one_shape() {
    let chart = |values| Rendered::new("chart", &succeeded("helm template", &template(values)));
    let pairs = [
        (chart("rules: { files: { edge.yaml: 'domain: edge' } }"), "memory"),
        (
            chart(
                "autoscaling: { enabled: true }
redis: { type: cluster, urls: ['redis-cluster.redis.svc:6379'], passwordSecret: { name: tidegate-redis } }
database:
  url: postgres://tidegate@postgres.postgres.svc:5432/tidegate
  passwordSecret: { name: tidegate-database }
  migration: { enabled: false }",
            ),
            "redis-postgres",
        ),
    ];
    for (chart, overlay) in pairs {
        let manifests = Rendered::new(overlay, &kustomize(overlay));
        for rendered in [&chart, &manifests] {
            rendered.check();
        }
        let (mut ours, mut theirs) = (chart.pod().clone(), manifests.pod().clone());
        for pod in [&mut ours, &mut theirs] {
            for list in ["/volumes", "/containers/0/volumeMounts"] {
                let list = pod.pointer_mut(list).unwrap().as_array_mut().unwrap();
                list.sort_by_key(|item| text(&item["name"]).to_owned());
                // The name of the settings' ConfigMap changes with them.
                list.iter_mut().filter(|item| item["name"] == "settings").for_each(|item| {
                    item.as_object_mut().unwrap().remove("configMap");
                });
            }
        }
        assert_eq!(ours, theirs, "{overlay}");
        let parsed = |rendered: &Rendered| {
            let mut settings = parse(rendered.settings()).remove(0);
            // Its default.
            if settings["database"]["migrate"] == true {
                settings["database"].as_object_mut().unwrap().remove("migrate");
            }
            settings
        };
        assert_eq!(parsed(&chart), parsed(&manifests), "{overlay}");
        for kind in ["Service", "NetworkPolicy", "PodDisruptionBudget", "HorizontalPodAutoscaler"] {
            let specs = |rendered: &Rendered| {
                let mut specs: Vec<_> = rendered
                    .all(kind)
                    .map(|object| {
                        let mut spec = object["spec"].clone();
                        if let Some(rules) = spec["ingress"].as_array_mut() {
                            rules.sort_by_key(|rule| text(&rule["ports"][0]["port"]).to_owned());
                        }
                        (text(&object["metadata"]["name"]).to_owned(), spec)
                    })
                    .collect();
                specs.sort_by(|one, other| one.0.cmp(&other.0));
                specs
            };
            assert_eq!(specs(&chart), specs(&manifests), "{overlay}: {kind}");
        }
    }
}

#[test]
#[ignore = "needs the validator of compose files: scripts/test-control-planes"]
fn the_compose_file_conforms_to_the_specification() {
    let validate = |file: &std::path::Path| {
        let mut command = Command::new(part("compose-validate"));
        command.current_dir(repository("deploy")).arg(file).output().unwrap()
    };
    let model = succeeded("the validator", &validate(&repository("deploy/docker-compose.yml")));
    let model = parse(&model).remove(0);
    assert_eq!(entries(&model["services"]).count(), 18);

    // It would say so, were something misspelt.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("docker-compose.yml");
    let text = std::fs::read_to_string(repository("deploy/docker-compose.yml")).unwrap();
    std::fs::write(&file, text.replace("read_only: true", "readonly: true")).unwrap();
    let output = validate(&file);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}
