-- Tokens of the API, never in the clear.
CREATE TABLE public.api_tokens (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL CHECK (octet_length(name) BETWEEN 1 AND 500),
    -- SHA-256 of the token's text.
    hash bytea NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
    scopes text[] NOT NULL CHECK (scopes <> '{}' AND public.rate_limit_are_among(scopes, '{read,write-rules,operate}')),
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    expires_at timestamptz CHECK (expires_at < 'infinity'),
    revoked_at timestamptz CHECK (revoked_at < 'infinity')
);
CREATE UNIQUE INDEX api_tokens_name ON public.api_tokens (name) WHERE revoked_at IS NULL;
