-- What the worker found, with its history.
ALTER TABLE public.ai_ddos_detection
    -- When it ended; a person may say what it was before or after that.
    ADD COLUMN ended_at timestamptz,
    -- How limits were changed last, and until when that holds if nothing renews it.
    ADD COLUMN effect jsonb CHECK (jsonb_typeof(effect) IN ('object', 'string')),
    ADD COLUMN expires_at timestamptz,
    -- Why no further action was taken.
    ADD COLUMN held text,
    -- What happened, from the first to the last: [{"at": ..., "what": "tighten", "expires": ..., "reasons": [...]}].
    ADD COLUMN history jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(history) = 'array');
CREATE INDEX ai_ddos_detection_last_seen ON public.ai_ddos_detection (last_seen);
CREATE INDEX ai_ddos_detection_reviewed ON public.ai_ddos_detection (reviewed_at) WHERE reviewed_at IS NOT NULL;

-- Anomalies are personal data: who may see them, and say what they were, is granted by itself.
ALTER TABLE public.api_tokens DROP CONSTRAINT api_tokens_scopes_check;
ALTER TABLE public.api_tokens ADD CONSTRAINT api_tokens_scopes_check CHECK (scopes <> '{}' AND
    public.rate_limit_are_among(scopes, '{read,write-rules,read-anomalies,review-anomalies,operate}'));
