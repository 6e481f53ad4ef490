-- Rules, what overrides them, and settings of domains; each change of them has a revision, and every version is kept.

-- The one row says where the rules stand. Whoever changes rules locks it first, so that the order of revisions is the
-- order of commits. taken_by and taken_at name the transaction that took the newest revision: both, as a restored
-- database counts its transactions anew.
CREATE TABLE public.rule_set_head (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    epoch uuid NOT NULL DEFAULT md5(gen_random_uuid()::text || gen_random_uuid()::text)::uuid,
    revision bigint NOT NULL DEFAULT 0 CHECK (revision >= 0),
    taken_by xid8,
    taken_at timestamptz,
    -- When an operator said that this history holds, whatever was before, who it was, and why.
    accepted_at timestamptz,
    accepted_by text,
    accepted_reason text
);
INSERT INTO public.rule_set_head DEFAULT VALUES;

CREATE TABLE public.rate_limit_domains (
    domain text COLLATE "C" PRIMARY KEY CHECK (octet_length(domain) BETWEEN 1 AND 500),
    charge text NOT NULL DEFAULT 'all_or_nothing' CHECK (charge IN ('independent', 'all_or_nothing')),
    default_algorithm text NOT NULL DEFAULT 'sliding_window_log' CHECK (default_algorithm IN
        ('fixed_window', 'sliding_window_log', 'sliding_window_counter', 'token_bucket', 'leaky_bucket')),
    response_headers text[] CHECK (public.rate_limit_are_among(response_headers, '{draft,legacy,x}')),
    accept_overrides boolean NOT NULL DEFAULT false,
    accept_refunds boolean NOT NULL DEFAULT false,
    revision bigint NOT NULL,
    deleted boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    updated_at timestamptz NOT NULL,
    updated_by text NOT NULL
);

CREATE TABLE public.rate_limit_rules (
    domain text COLLATE "C" NOT NULL CHECK (octet_length(domain) BETWEEN 1 AND 500),
    path text COLLATE "C" NOT NULL CHECK (public.rate_limit_path_problem(path) IS NULL),
    limits jsonb CHECK (public.rate_limit_limits_problem(limits) IS NULL),
    -- That of the first limit, for those who look for rules.
    algorithm text GENERATED ALWAYS AS (limits #>> '{0,algorithm}') STORED,
    shadow_mode boolean NOT NULL DEFAULT false,
    quota_mode boolean NOT NULL DEFAULT false,
    detailed_metric boolean NOT NULL DEFAULT false,
    value_to_metric boolean NOT NULL DEFAULT false,
    share_threshold boolean NOT NULL DEFAULT false,
    protect boolean NOT NULL DEFAULT false,
    enabled boolean NOT NULL DEFAULT true,
    failure_mode text CHECK (failure_mode IN ('local', 'open', 'closed', 'error')),
    match_order bigint NOT NULL DEFAULT 0 CHECK (match_order BETWEEN 0 AND 4294967295),
    metadata jsonb CHECK (jsonb_typeof(metadata) = 'object' AND metadata <> '{}'),
    tags text[] NOT NULL DEFAULT '{}' CHECK (array_position(tags, NULL) IS NULL),
    revision bigint NOT NULL,
    deleted boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    updated_at timestamptz NOT NULL,
    updated_by text NOT NULL,
    PRIMARY KEY (domain, path),
    CONSTRAINT rate_limit_rules_share_threshold_needs_wildcard CHECK (NOT share_threshold OR path ~ '\*[^,]*$')
);

CREATE TABLE public.rate_limit_overrides (
    domain text COLLATE "C" NOT NULL CHECK (octet_length(domain) BETWEEN 1 AND 500),
    path text COLLATE "C" NOT NULL CHECK (public.rate_limit_path_problem(path) IS NULL),
    limits jsonb NOT NULL CHECK (public.rate_limit_limits_problem(limits) IS NULL),
    until timestamptz NOT NULL CHECK (until >= '0001-01-01 00:00:00+00' AND until < '9999-12-30 00:00:00+00'),
    revision bigint NOT NULL,
    deleted boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    updated_at timestamptz NOT NULL,
    updated_by text NOT NULL,
    PRIMARY KEY (domain, path)
);

-- What changed since a revision, and rules by what people look for.
CREATE INDEX rate_limit_domains_revision ON public.rate_limit_domains (revision);
CREATE INDEX rate_limit_rules_revision ON public.rate_limit_rules (revision);
CREATE INDEX rate_limit_overrides_revision ON public.rate_limit_overrides (revision);
CREATE INDEX rate_limit_rules_tags ON public.rate_limit_rules USING gin (tags) WHERE tags <> '{}';

-- Sorted as lists are.
CREATE TYPE public.rate_limit_record_kind AS ENUM ('domain', 'rule', 'override');

-- Every version of every record, as rules in JSON; NULL for nothing. The path of a domain is empty.
CREATE TABLE public.rate_limit_rule_history (
    revision bigint NOT NULL,
    domain text COLLATE "C" NOT NULL,
    kind public.rate_limit_record_kind NOT NULL,
    path text COLLATE "C" NOT NULL,
    changed_at timestamptz NOT NULL,
    changed_by text NOT NULL,
    reason text,
    before jsonb,
    after jsonb,
    PRIMARY KEY (domain, kind, path, revision)
);
CREATE INDEX rate_limit_rule_history_revision ON public.rate_limit_rule_history (revision);

-- A record's content in JSON, of a row in JSON.
CREATE FUNCTION public.rate_limit_content(kind text, r jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN (r->'deleted')::boolean THEN NULL
        WHEN kind = 'domain' THEN jsonb_strip_nulls(jsonb_build_object('charge', r->'charge',
            'default_algorithm', r->'default_algorithm', 'response_headers', r->'response_headers',
            'accept_overrides', r->'accept_overrides', 'accept_refunds', r->'accept_refunds'))
        ELSE CASE
            WHEN r->'limits' = 'null' THEN '{}'
            WHEN jsonb_array_length(r->'limits') = 1 THEN jsonb_build_object('rate_limit', r->'limits'->0)
            ELSE jsonb_build_object('rate_limits', r->'limits')
        END || CASE
            WHEN kind = 'override' THEN jsonb_build_object('until', replace(r->>'until', '+00:00', 'Z'))
            ELSE jsonb_strip_nulls(jsonb_build_object(
                'shadow_mode', nullif(r->'shadow_mode', 'false'), 'quota_mode', nullif(r->'quota_mode', 'false'),
                'detailed_metric', nullif(r->'detailed_metric', 'false'),
                'value_to_metric', nullif(r->'value_to_metric', 'false'),
                'share_threshold', nullif(r->'share_threshold', 'false'), 'protect', nullif(r->'protect', 'false'),
                'enabled', nullif(r->'enabled', 'true'), 'failure_mode', r->'failure_mode',
                'order', nullif(r->'match_order', '0'), 'tags', nullif(r->'tags', '[]')))
                || CASE WHEN r->'metadata' = 'null' THEN '{}' ELSE jsonb_build_object('metadata', r->'metadata') END
        END
    END
$$;
