//! Which rule a descriptor meets, and what its metric is called: as envoyproxy/ratelimit has it.
#![allow(clippy::unwrap_used, clippy::panic)]

use tidegate::core::descriptor::Entry;
use tidegate::core::limit::Unit;
use tidegate::core::rule::Rule;
use tidegate::core::ruleset::RuleSet;
use tidegate::rules::files::{Sources, load, load_text};

fn rules(text: &str) -> RuleSet {
    load_text("rules.yaml", text).unwrap_or_else(|report| panic!("{report}")).rules
}

/// `key=value,key=value` as entries.
fn entries(text: &str) -> Vec<Entry<'_>> {
    let split = |entry| str::split_once(entry, '=').unwrap();
    text.split(',').filter(|entry| !entry.is_empty()).map(split).map(|(key, value)| Entry::new(key, value)).collect()
}

fn find<'r>(rules: &'r RuleSet, domain: &str, descriptor: &str) -> Option<&'r Rule> {
    rules.domain(domain.as_bytes())?.find(&entries(descriptor))
}

/// The name that a rule's metric has for a descriptor, with the domain before it.
fn metric(rules: &RuleSet, domain: &str, descriptor: &str) -> Option<String> {
    let rule = find(rules, domain, descriptor)?;
    Some(format!("{domain}.{}", rule.metric_key(&entries(descriptor))))
}

fn limit(rule: &Rule) -> (u64, Option<Unit>) {
    let limit = &rule.limits()[0].limit;
    (limit.amount(), limit.window().unit())
}

/// Descriptors, each with the amount of the limit and the name of the metric, or with nothing.
fn check(rules: &RuleSet, domain: &str, cases: &[(&str, Option<(u64, &str)>)]) {
    for (descriptor, expected) in cases {
        let found = find(rules, domain, descriptor).map(|rule| limit(rule).0);
        let name = metric(rules, domain, descriptor);
        let found = found.zip(name.as_deref());
        assert_eq!(found, *expected, "{descriptor}");
    }
}

#[test]
fn a_limit_applies_where_the_path_ends() {
    let rules = rules(
        "
domain: shop
descriptors:
  - key: plan
    value: gold
    descriptors:
      - key: action
        rate_limit: { unit: second, requests_per_unit: 3 }
      - key: action
        value: buy
        rate_limit: { unit: second, requests_per_unit: 7 }
  - key: client
    rate_limit: { unit: minute, requests_per_unit: 11 }
  - key: client
    value: partner
    rate_limit: { unit: minute, requests_per_unit: 13 }
  - key: client
    value: exempt
  - key: report
    rate_limit: { unit: HOUR, requests_per_unit: 1 }
  - key: login
    rate_limit: { name: logins, unit: Day, requests_per_unit: 17 }
  - key: region
    value: north
    rate_limit: { unit: day, requests_per_unit: 19 }
    descriptors:
      - key: city
        value: oslo
        rate_limit: { unit: day, requests_per_unit: 23 }
  - key: health
    rate_limit: { unlimited: true }
  - key: agent
    detailed_metric: true
    rate_limit: { unit: minute, requests_per_unit: 29 }
",
    );
    assert!(rules.domain(b"elsewhere").is_none());
    assert!(rules.domain(b"shop").unwrap().find(&[]).is_none());
    check(
        &rules,
        "shop",
        &[
            ("plan=silver", None),
            ("plan=gold", None),
            ("plan=gold,action=look", Some((3, "shop.plan_gold.action"))),
            ("plan=gold,action=buy", Some((7, "shop.plan_gold.action_buy"))),
            ("plan=gold,action=buy,more=x", None),
            ("plan=silver,action=buy", None),
            ("client=anyone", Some((11, "shop.client"))),
            ("client=partner", Some((13, "shop.client_partner"))),
            ("client=exempt", None),
            ("client=partner,deeper=x", None),
            ("report=x", Some((1, "shop.report"))),
            ("region=north", Some((19, "shop.region_north"))),
            ("region=south", None),
            ("region=north,city=oslo", Some((23, "shop.region_north.city_oslo"))),
            ("region=north,city=bergen", None),
            ("agent=curl", Some((29, "shop.agent_curl"))),
            ("agent=other", Some((29, "shop.agent_other"))),
            ("agent=", Some((29, "shop.agent_"))),
            ("unknown=x", None),
        ],
    );
    let units = [
        ("plan=gold,action=buy", Unit::Second),
        ("client=partner", Unit::Minute),
        ("report=x", Unit::Hour),
        ("login=x", Unit::Day),
    ];
    for (descriptor, unit) in units {
        assert_eq!(limit(find(&rules, "shop", descriptor).unwrap()).1, Some(unit), "{descriptor}");
    }
    assert_eq!(find(&rules, "shop", "login=x").unwrap().name(), Some("logins"));
    assert_eq!(find(&rules, "shop", "report=x").unwrap().name(), None);
    let unlimited = find(&rules, "shop", "health=x").unwrap();
    assert!(unlimited.is_unlimited() && unlimited.limits().is_empty());
    assert_eq!(metric(&rules, "shop", "health=x").as_deref(), Some("shop.health"));
}

#[test]
fn shadow_and_quota_mode_belong_to_one_branch() {
    let rules = rules(
        "
domain: d
descriptors:
  - key: a
    rate_limit: { unit: minute, requests_per_unit: 1 }
    shadow_mode: yes
  - key: a
    value: x
    rate_limit: { unit: minute, requests_per_unit: 2 }
    quota_mode: on
",
    );
    let modes = |descriptor| {
        let rule = find(&rules, "d", descriptor).unwrap();
        (rule.shadow_mode, rule.quota_mode)
    };
    assert_eq!(modes("a=other"), (true, false));
    assert_eq!(modes("a=x"), (false, true));
}

#[test]
fn merged_domains_are_one() {
    let directory = tempfile::tempdir().unwrap();
    for (file, key, amount) in [("one.yaml", "a", 5), ("two.yml", "b", 6)] {
        let text = format!(
            "domain: d\ndescriptors:\n  - key: {key}\n    rate_limit: {{ unit: minute, requests_per_unit: {amount} }}\n"
        );
        std::fs::write(directory.path().join(file), text).unwrap();
    }
    let mut sources = Sources::paths([directory.path()]);
    assert!(load(&sources).unwrap_err().to_string().contains("duplicate domain 'd'"));
    sources.merge_domains = true;
    let rules = load(&sources).unwrap().rules;
    check(&rules, "d", &[("a=x", Some((5, "d.a"))), ("b=x", Some((6, "d.b"))), ("c=x", None)]);
}

#[test]
fn patterns() {
    let rules = rules(
        "
domain: d
descriptors:
  - { key: end, value: foo*, rate_limit: { unit: minute, requests_per_unit: 1 } }
  - { key: exact, value: foo, rate_limit: { unit: minute, requests_per_unit: 2 } }
  - { key: any, rate_limit: { unit: minute, requests_per_unit: 3 } }
  - { key: middle, value: bar*b, rate_limit: { unit: minute, requests_per_unit: 4 } }
  - { key: two, value: foo*bar*baz, rate_limit: { unit: minute, requests_per_unit: 5 } }
  - key: outer
    value: v
    descriptors:
      - { key: end, value: goo*, rate_limit: { unit: minute, requests_per_unit: 6 } }
  - { key: key*, rate_limit: { unit: minute, requests_per_unit: 7 } }
  - { key: both, rate_limit: { unit: minute, requests_per_unit: 8 } }
  - { key: both, value: a*, rate_limit: { unit: minute, requests_per_unit: 9 } }
  - { key: both, value: ab*, rate_limit: { unit: minute, requests_per_unit: 10 } }
  - { key: both, value: abc, rate_limit: { unit: minute, requests_per_unit: 11 } }
",
    );
    check(
        &rules,
        "d",
        &[
            ("any=one", Some((3, "d.any"))),
            ("any=two", Some((3, "d.any"))),
            ("end=foo1", Some((1, "d.end_foo*"))),
            ("end=foo", Some((1, "d.end_foo*"))),
            ("end=bar", None),
            ("end=fo", None),
            ("outer=v,end=goo2", Some((6, "d.outer_v.end_goo*"))),
            ("outer=v,end=foo2", None),
            ("exact=foo1", None),
            ("exact=foo", Some((2, "d.exact_foo"))),
            ("middle=barab", Some((4, "d.middle_bar*b"))),
            ("middle=bar123b", Some((4, "d.middle_bar*b"))),
            ("middle=barb", Some((4, "d.middle_bar*b"))),
            ("middle=bara", None),
            ("middle=xbarb", None),
            ("middle=bab", None),
            ("two=foo1bar2baz", Some((5, "d.two_foo*bar*baz"))),
            ("two=foobarbaz", Some((5, "d.two_foo*bar*baz"))),
            ("two=foo123baz", None),
            ("two=bar456baz", None),
            ("two=foobazbar", None),
            ("keystone=x", Some((7, "d.key*"))),
            ("both=abc", Some((11, "d.both_abc"))),
            ("both=abd", Some((9, "d.both_a*"))),
            ("both=b", Some((8, "d.both"))),
        ],
    );
}

#[test]
fn detailed_metrics() {
    let plain = |first: bool, second: bool| {
        format!(
            "
domain: d
descriptors:
  - key: k-1
    detailed_metric: {first}
    rate_limit: {{ unit: minute, requests_per_unit: 100 }}
    descriptors:
      - key: k-2
        detailed_metric: {second}
        rate_limit: {{ unit: minute, requests_per_unit: 5 }}
"
        )
    };
    check(&rules(&plain(true, false)), "d", &[("k-1=v", Some((100, "d.k-1_v")))]);
    check(&rules(&plain(false, false)), "d", &[("k-1=v", Some((100, "d.k-1")))]);
    check(&rules(&plain(true, true)), "d", &[("k-1=v,k-2=w", Some((5, "d.k-1_v.k-2_w")))]);
    check(&rules(&plain(false, false)), "d", &[("k-1=v,k-2=w", Some((5, "d.k-1.k-2")))]);
    // It is the last branch's that counts, for every entry.
    check(&rules(&plain(false, true)), "d", &[("k-1=v,k-2=w", Some((5, "d.k-1_v.k-2_w")))]);
    check(&rules(&plain(true, false)), "d", &[("k-1=v,k-2=w", Some((5, "d.k-1.k-2")))]);

    let real = rules(
        "
domain: d
descriptors:
  - key: account
    detailed_metric: true
    rate_limit: { unit: minute, requests_per_unit: 500 }
  - key: account
    value: big
    rate_limit: { unit: minute, requests_per_unit: 900 }
  - key: tenant
    detailed_metric: true
    rate_limit: { unit: minute, requests_per_unit: 5000 }
    descriptors:
      - { key: op, detailed_metric: true }
      - key: op
        value: export
        detailed_metric: true
        rate_limit: { unit: minute, requests_per_unit: 5 }
  - key: tenant
    value: one
    detailed_metric: true
    rate_limit: { unit: minute, requests_per_unit: 50 }
    descriptors:
      - key: op
        value: export
        detailed_metric: true
        rate_limit: { unit: minute, requests_per_unit: 100 }
",
    );
    check(
        &real,
        "d",
        &[
            ("account=a", Some((500, "d.account_a"))),
            ("account=big", Some((900, "d.account_big"))),
            ("tenant=x", Some((5000, "d.tenant_x"))),
            ("tenant=x,op=export", Some((5, "d.tenant_x.op_export"))),
            ("tenant=x,op=read", None),
            ("tenant=one", Some((50, "d.tenant_one"))),
            ("tenant=one,op=export", Some((100, "d.tenant_one.op_export"))),
        ],
    );
}

#[test]
fn values_in_metrics() {
    let three = |flags: [bool; 3], detailed: bool| {
        format!(
            "
domain: d
descriptors:
  - key: route
    value_to_metric: {}
    descriptors:
      - key: method
        value_to_metric: {}
        descriptors:
          - key: subject
            value_to_metric: {}
            detailed_metric: {detailed}
            rate_limit: {{ unit: minute, requests_per_unit: 60 }}
",
            flags[0], flags[1], flags[2]
        )
    };
    for (flags, detailed, expected) in [
        ([true, true, false], false, "d.route_draw.method_GET.subject"),
        ([true, false, false], false, "d.route_draw.method.subject"),
        ([false, true, false], false, "d.route.method_GET.subject"),
        ([false, false, true], false, "d.route.method.subject_123"),
        ([false, false, false], false, "d.route.method.subject"),
        ([true, true, false], true, "d.route_draw.method_GET.subject_123"),
    ] {
        check(&rules(&three(flags, detailed)), "d", &[("route=draw,method=GET,subject=123", Some((60, expected)))]);
    }
    // An empty value adds nothing.
    check(
        &rules(&three([true, true, false], false)),
        "d",
        &[
            ("route=,method=GET,subject=1", Some((60, "d.route.method_GET.subject"))),
            ("route=draw,method=,subject=1", Some((60, "d.route_draw.method.subject"))),
            ("route=,method=,subject=1", Some((60, "d.route.method.subject"))),
        ],
    );
    let configured = rules(
        "
domain: d
descriptors:
  - key: route
    value_to_metric: true
    descriptors:
      - key: method
        value: GET
        value_to_metric: true
        descriptors:
          - { key: subject, rate_limit: { unit: minute, requests_per_unit: 60 } }
      - key: method
        value: PO*
        value_to_metric: true
        descriptors:
          - { key: subject, rate_limit: { unit: minute, requests_per_unit: 30 } }
",
    );
    check(
        &configured,
        "d",
        &[
            ("route=api,method=GET,subject=1", Some((60, "d.route_api.method_GET.subject"))),
            ("route=api,method=POST,subject=1", Some((30, "d.route_api.method_POST.subject"))),
            ("route=api,method=PUT,subject=1", None),
        ],
    );
}

#[test]
fn shared_thresholds() {
    let rules = rules(
        "
domain: d
descriptors:
  - { key: files, value: docs/*, share_threshold: true, rate_limit: { unit: minute, requests_per_unit: 1 } }
  - key: nested
    value: parent
    descriptors:
      - { key: files, value: sub/*, share_threshold: true, rate_limit: { unit: minute, requests_per_unit: 2 } }
  - key: files
    value: top/*
    share_threshold: true
    descriptors:
      - { key: files, value: sub/*, share_threshold: true, rate_limit: { unit: minute, requests_per_unit: 3 } }
  - key: route
    value: api/*
    share_threshold: true
    value_to_metric: true
    descriptors:
      - { key: method, rate_limit: { unit: minute, requests_per_unit: 4 } }
  - key: service
    value: svc/*
    share_threshold: true
    descriptors:
      - { key: endpoint, detailed_metric: true, rate_limit: { unit: minute, requests_per_unit: 5 } }
  - key: path
    value: path/*
    share_threshold: true
    descriptors:
      - key: file
        value: file/*
        descriptors:
          - { key: type, rate_limit: { unit: minute, requests_per_unit: 6 } }
  - { key: file, value: test1, rate_limit: { unit: minute, requests_per_unit: 7 } }
  - { key: file, value: test*, share_threshold: true, rate_limit: { unit: minute, requests_per_unit: 8 } }
  - { key: middle, value: /api*v1, share_threshold: true, rate_limit: { unit: minute, requests_per_unit: 9 } }
  - { key: two, value: svc*ep*rpc, share_threshold: true, rate_limit: { unit: minute, requests_per_unit: 10 } }
  - key: valued
    value: /api*v2
    share_threshold: true
    value_to_metric: true
    rate_limit: { unit: minute, requests_per_unit: 11 }
  - key: tenant
    value: t*prod
    share_threshold: true
    descriptors:
      - { key: resource, value: res*v2, share_threshold: true, rate_limit: { unit: minute, requests_per_unit: 12 } }
",
    );
    check(
        &rules,
        "d",
        &[
            ("files=docs/a.pdf", Some((1, "d.files_docs/*"))),
            ("files=docs/b.csv", Some((1, "d.files_docs/*"))),
            ("nested=parent,files=sub/x", Some((2, "d.nested_parent.files_sub/*"))),
            ("files=top/x,files=sub/x", Some((3, "d.files_top/*.files_sub/*"))),
            ("route=api/v1,method=GET", Some((4, "d.route_api/*.method"))),
            ("service=svc/user,endpoint=get", Some((5, "d.service_svc/*.endpoint_get"))),
            ("service=svc/user,endpoint=", Some((5, "d.service_svc/*.endpoint"))),
            ("path=path/a,file=file/b,type=pdf", Some((6, "d.path_path/*.file_file/*.type"))),
            ("file=test1", Some((7, "d.file_test1"))),
            ("file=test2", Some((8, "d.file_test*"))),
            ("file=test123", Some((8, "d.file_test*"))),
            ("middle=/api/v1", Some((9, "d.middle_/api*v1"))),
            ("middle=/api-beta-v1", Some((9, "d.middle_/api*v1"))),
            ("middle=/api/v2", None),
            ("two=svcAepBrpc", Some((10, "d.two_svc*ep*rpc"))),
            ("two=svceprpc", Some((10, "d.two_svc*ep*rpc"))),
            ("two=svcABCrpc", None),
            ("valued=/api/v2", Some((11, "d.valued_/api*v2"))),
            ("valued=/api-beta-v2", Some((11, "d.valued_/api*v2"))),
            ("tenant=t1prod,resource=resAv2", Some((12, "d.tenant_t*prod.resource_res*v2"))),
            ("tenant=t99prod,resource=resBBBv2", Some((12, "d.tenant_t*prod.resource_res*v2"))),
        ],
    );
    // Which entries' values keep counters apart.
    for (descriptor, varying) in [
        ("files=docs/a.pdf", 0b0),
        ("nested=parent,files=sub/x", 0b00),
        ("route=api/v1,method=GET", 0b10),
        ("path=path/a,file=file/b,type=pdf", 0b110),
        ("file=test1", 0b0),
        ("tenant=t1prod,resource=resAv2", 0b00),
    ] {
        assert_eq!(find(&rules, "d", descriptor).unwrap().varying, varying, "{descriptor}");
    }
}

#[test]
fn metrics_of_patterns() {
    for pattern in ["foo*", "foo*bar*"] {
        let one = |flags: &str| {
            rules(&format!(
                "domain: d\ndescriptors:\n  - {{ key: w, value: {pattern}, {flags} rate_limit: {{ unit: minute, \
                 requests_per_unit: 20 }} }}\n"
            ))
        };
        let of_pattern = format!("d.w_{pattern}");
        for (flags, expected) in [
            ("", of_pattern.as_str()),
            ("value_to_metric: true,", "d.w_foo1bar2"),
            ("share_threshold: true,", &of_pattern),
            ("share_threshold: true, value_to_metric: true,", &of_pattern),
        ] {
            check(&one(flags), "d", &[("w=foo1bar2", Some((20, expected)))]);
        }
    }
    let below = rules(
        "
domain: d
descriptors:
  - key: w
    value: foo*
    descriptors:
      - key: other
        value_to_metric: true
        descriptors:
          - { key: limit, rate_limit: { unit: minute, requests_per_unit: 20 } }
",
    );
    check(&below, "d", &[("w=foo1,other=bar,limit=x", Some((20, "d.w_foo*.other_bar.limit")))]);
}

#[test]
fn metadata_stays_also_where_the_metric_changes() {
    let rules = rules(
        "
domain: d
descriptors:
  - key: a
    descriptors:
      - key: b
        rate_limit: { unit: second, requests_per_unit: 5 }
        metadata: { name: service_1 }
      - key: b
        value: plain
        rate_limit: { unit: second, requests_per_unit: 10 }
  - key: c
    detailed_metric: true
    rate_limit: { unit: minute, requests_per_unit: 20 }
    metadata:
      service_with_quota: { name: service_2, tiers: [1, 2.5, yes, null] }
",
    );
    let metadata = |descriptor| {
        let metadata = find(&rules, "d", descriptor).unwrap().metadata();
        metadata.map(|metadata| serde_json::Value::Object(metadata.clone()))
    };
    assert_eq!(metadata("a=x,b=y"), Some(serde_json::json!({ "name": "service_1" })));
    assert_eq!(metadata("a=x,b=plain"), None);
    assert_eq!(
        metadata("c=x"),
        Some(serde_json::json!({ "service_with_quota": { "name": "service_2", "tiers": [1, 2.5, true, null] } }))
    );
}
