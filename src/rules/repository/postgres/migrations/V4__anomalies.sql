-- What the anomaly worker finds and does.

-- A client, or a group of them, that behaved unusually, from when it began to when it ended.
CREATE TABLE public.ai_ddos_detection (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Whom it is about: a user, an address, or both. A group has neither, but a subject.
    user_id text CHECK (octet_length(user_id) BETWEEN 1 AND 1000),
    ip_address inet,
    -- The whole of it: {"client": {"user_id": "123"}} or {"group": {"country": "XX", "path": "/login"}}.
    subject jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(subject) = 'object'),
    domain text COLLATE "C" CHECK (octet_length(domain) BETWEEN 1 AND 500),
    -- Requests since first_seen.
    request_count bigint NOT NULL DEFAULT 0 CHECK (request_count >= 0),
    -- The highest so far, 0 to 1, and those of the models by name.
    anomaly_score double precision NOT NULL CHECK (anomaly_score BETWEEN 0 AND 1),
    scores jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(scores) = 'object'),
    -- When it was flagged, and when the anomaly was seen first and last.
    "timestamp" timestamptz NOT NULL DEFAULT now(),
    first_seen timestamptz NOT NULL DEFAULT now(),
    last_seen timestamptz NOT NULL DEFAULT now(),
    -- Open while it lasts; then ended, or what a person said of it.
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'ended', 'confirmed', 'dismissed')),
    action text NOT NULL DEFAULT 'flag' CHECK (action IN ('none', 'flag', 'tighten', 'block')),
    -- Only said, not done.
    shadow boolean NOT NULL DEFAULT false,
    -- Which features, their usual and present values, in words: [{"feature": ..., "text": ...}].
    reasons jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(reasons) = 'array'),
    -- The features as the models saw them, for learning from what people say.
    features jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(features) = 'object'),
    model_version text,
    -- By whom, when and why it was confirmed or dismissed.
    reviewed_at timestamptz,
    reviewed_by text,
    review_note text,
    CHECK (first_seen <= last_seen),
    CHECK (user_id IS NOT NULL OR ip_address IS NOT NULL OR subject <> '{}'),
    CHECK (state NOT IN ('confirmed', 'dismissed') OR (reviewed_at IS NOT NULL AND reviewed_by IS NOT NULL))
);
CREATE INDEX ai_ddos_detection_timestamp ON public.ai_ddos_detection ("timestamp");
CREATE INDEX ai_ddos_detection_user_id ON public.ai_ddos_detection (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX ai_ddos_detection_ip_address ON public.ai_ddos_detection (ip_address) WHERE ip_address IS NOT NULL;
CREATE INDEX ai_ddos_detection_open ON public.ai_ddos_detection (last_seen) WHERE state = 'open';

-- A factor on the limits of a subject for a time, or a limit of its own.
CREATE TABLE public.limit_adjustments (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    detection_id bigint REFERENCES public.ai_ddos_detection ON DELETE SET NULL,
    domain text COLLATE "C" NOT NULL CHECK (octet_length(domain) BETWEEN 1 AND 500),
    -- Which rule; NULL is all of the domain.
    path text COLLATE "C" CHECK (public.rate_limit_path_problem(path) IS NULL),
    -- As in ai_ddos_detection.
    subject jsonb NOT NULL CHECK (jsonb_typeof(subject) = 'object' AND subject <> '{}'),
    -- What limits are multiplied by: 0 blocks, above 1 raises. Or limits instead, which is how a group is met.
    factor double precision CHECK (factor BETWEEN 0 AND 1000),
    limits jsonb CHECK (public.rate_limit_limits_problem(limits) IS NULL),
    shadow boolean NOT NULL DEFAULT false,
    reasons jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(reasons) = 'array'),
    model_version text,
    -- worker, or who it was.
    author text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    renewed_at timestamptz,
    expires_at timestamptz NOT NULL,
    -- Undone before it expired.
    ended_at timestamptz,
    ended_by text,
    CHECK ((factor IS NULL) <> (limits IS NULL)),
    CHECK (expires_at > created_at AND expires_at < 'infinity'),
    CHECK ((ended_at IS NULL) = (ended_by IS NULL))
);
CREATE INDEX limit_adjustments_in_force ON public.limit_adjustments (expires_at) WHERE ended_at IS NULL;
CREATE INDEX limit_adjustments_detection ON public.limit_adjustments (detection_id);
