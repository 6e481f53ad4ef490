-- What a rule may say, as functions that the constraints of the tables use. Each gives NULL for what is well, or a
-- sentence; somebody whose statement fails can ask them: SELECT rate_limit_limits_problem('[{"unit": "minute"}]').
-- They accept nothing that Tidegate refuses; of two spellings of the same they may accept only the plain one.
-- All names are qualified, as a restored dump is read without a search path.

CREATE FUNCTION public.rate_limit_path_problem(path text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF path IS NULL OR path = '' THEN
        RETURN 'a descriptor path has at least one entry; write for example user_id=123 or user_id';
    ELSIF octet_length(path) > 2000 THEN
        RETURN 'a descriptor path is at most 2000 bytes long';
    ELSIF length(path) - length(replace(path, ',', '')) > 63 THEN
        RETURN 'a descriptor path has at most 64 entries';
    -- Entries key or key=value; the characters of the notation, and control characters, as %XX, and only they.
    ELSIF path !~ replace('^E(=E)?(,E(=E)?)*$', 'E',
        '([^,=%|{}\u0001-\u001f\u007f-\u009f]|%(2C|3D|25|7C|7B|7D|7F|[01][0-9A-F]|C2%[89][0-9A-F]))+') THEN
        RETURN 'a descriptor path is key=value,key2,...; the characters , = % | { } and control characters within are '
            || 'written %2C and so on';
    END IF;
    RETURN NULL;
END $$;

-- The microseconds of a window; NULL for what is none. Months and years have no length of their own.
CREATE FUNCTION public.rate_limit_window_length(written text) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN written ~ '^([0-9]{1,15}(us|ms|s|m|h|d|w))+$' THEN (
        SELECT sum(part[1]::numeric * CASE part[2]
            WHEN 'us' THEN 1 WHEN 'ms' THEN 1000 WHEN 's' THEN 1000000 WHEN 'm' THEN 60000000
            WHEN 'h' THEN 3600000000 WHEN 'd' THEN 86400000000 ELSE 604800000000 END)
        FROM regexp_matches(written, '([0-9]+)(us|ms|s|m|h|d|w)', 'g') AS part)
    END
$$;

-- Whether this is the IANA name of a time zone, and no abbreviation or formula of one.
CREATE FUNCTION public.rate_limit_is_time_zone(zone text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF zone IS NULL OR zone !~
        '^(UTC|GMT|Etc/(UTC|GMT([+-][0-9]{1,2})?)|[A-Z][A-Za-z_]+(-[A-Za-z_]+)*(/[A-Z][A-Za-z_]+(-[A-Za-z_]+)*){1,2})$' THEN
        RETURN false;
    END IF;
    PERFORM timezone(zone, timestamptz '2000-01-01 00:00:00+00');
    RETURN true;
EXCEPTION WHEN invalid_parameter_value THEN
    RETURN false;
END $$;

-- One limit; names are those of all limits of the rule.
CREATE FUNCTION public.rate_limit_limit_problem(l jsonb, names text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    algorithm text;
    burst text;
    replaced jsonb;
BEGIN
    IF jsonb_typeof(l) IS DISTINCT FROM 'object' THEN
        RETURN 'a limit is an object, {"requests_per_unit": 5, "unit": "minute"}';
    ELSIF l - ARRAY['name', 'requests_per_unit', 'unit', 'window', 'calendar', 'time_zone', 'algorithm', 'burst', 'over',
        'post_paid', 'unlimited', 'replaces'] <> '{}' THEN
        RETURN 'unknown field; a limit has name, requests_per_unit, unit, window, calendar, time_zone, algorithm, burst, '
            || 'over, post_paid, unlimited and replaces';
    ELSIF coalesce(jsonb_typeof(l->'name'), 'string') <> 'string' THEN
        RETURN 'name is a text';
    ELSIF l->>'name' = '' THEN
        RETURN 'name is empty; leave it out';
    ELSIF coalesce(jsonb_typeof(l->'calendar'), 'boolean') <> 'boolean'
        OR coalesce(jsonb_typeof(l->'post_paid'), 'boolean') <> 'boolean'
        OR coalesce(jsonb_typeof(l->'unlimited'), 'boolean') <> 'boolean' THEN
        RETURN 'calendar, post_paid and unlimited are true or false';
    END IF;
    IF l ? 'replaces' THEN
        IF jsonb_typeof(l->'replaces') <> 'array' THEN
            RETURN 'replaces is a list of names, [{"name": "other"}]';
        END IF;
        FOR replaced IN SELECT jsonb_array_elements(l->'replaces') LOOP
            IF jsonb_typeof(replaced) <> 'object' OR replaced - 'name' <> '{}'
                OR jsonb_typeof(replaced->'name') IS DISTINCT FROM 'string' OR replaced->>'name' = '' THEN
                RETURN 'replaces is a list of names, [{"name": "other"}]';
            ELSIF replaced->>'name' = ANY (names) THEN
                RETURN 'a rule cannot replace a limit of its own';
            END IF;
        END LOOP;
    END IF;
    IF l->'unlimited' = 'true' THEN
        IF l - ARRAY['unlimited', 'name', 'replaces'] <> '{}' THEN
            RETURN 'unlimited goes with name and replaces only';
        END IF;
        RETURN NULL;
    END IF;
    IF jsonb_typeof(l->'requests_per_unit') IS DISTINCT FROM 'number' OR l->>'requests_per_unit' !~ '^[0-9]{1,10}$'
        OR (l->>'requests_per_unit')::bigint > 4294967295 THEN
        RETURN 'requests_per_unit is a whole number from 0 to 4294967295';
    END IF;
    algorithm := coalesce(l->>'algorithm', 'sliding_window_log');
    IF coalesce(jsonb_typeof(l->'algorithm'), 'string') <> 'string' OR algorithm NOT IN
        ('fixed_window', 'sliding_window_log', 'sliding_window_counter', 'token_bucket', 'leaky_bucket') THEN
        RETURN 'algorithm is fixed_window, sliding_window_log, sliding_window_counter, token_bucket or leaky_bucket';
    ELSIF algorithm = 'sliding_window_log' AND (l->>'requests_per_unit')::bigint > 10000 THEN
        RETURN 'sliding_window_log takes at most 10000 per window; use sliding_window_counter or token_bucket';
    ELSIF l ? 'over' AND l->'over' NOT IN ('"record"', '"drop"') THEN
        RETURN 'over is record or drop';
    END IF;
    IF l ? 'burst' THEN
        burst := l->>'burst';
        IF algorithm NOT IN ('token_bucket', 'leaky_bucket') THEN
            RETURN 'burst goes with token_bucket and leaky_bucket only';
        ELSIF jsonb_typeof(l->'burst') <> 'number' OR burst !~ '^[0-9]{1,16}$'
            OR burst::bigint NOT BETWEEN 1 AND 9007199254740991 THEN
            RETURN 'burst is a whole number from 1 to 9007199254740991';
        END IF;
    END IF;
    IF (l ? 'unit') = (l ? 'window') THEN
        RETURN 'a limit has either unit or window';
    ELSIF l ? 'unit' AND l->'unit' NOT IN
        ('"second"', '"minute"', '"hour"', '"day"', '"week"', '"month"', '"year"') THEN
        RETURN 'unit is second, minute, hour, day, week, month or year';
    ELSIF l ? 'window' AND (jsonb_typeof(l->'window') <> 'string'
        OR coalesce(public.rate_limit_window_length(l->>'window'), 0) NOT BETWEEN 1 AND 315360000000000) THEN
        RETURN 'window is a length from 1us to 3650d, such as 90s or 1h30m; months and years have none';
    END IF;
    IF l->'calendar' = 'true' THEN
        IF algorithm <> 'fixed_window' THEN
            RETURN 'calendar goes with fixed_window only';
        ELSIF l->>'unit' IS NULL OR l->>'unit' NOT IN ('day', 'week', 'month', 'year') THEN
            RETURN 'calendar goes with the units day, week, month and year';
        ELSIF l ? 'time_zone' AND (jsonb_typeof(l->'time_zone') <> 'string'
            OR NOT public.rate_limit_is_time_zone(l->>'time_zone')) THEN
            RETURN 'time_zone is an IANA name, such as Europe/Berlin';
        END IF;
    ELSIF l ? 'time_zone' THEN
        RETURN 'time_zone goes with calendar only';
    END IF;
    RETURN NULL;
END $$;

-- The limits of a rule: a list of them, or of one that is unlimited.
CREATE FUNCTION public.rate_limit_limits_problem(limits jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    names text[];
    l jsonb;
    problem text;
BEGIN
    IF limits IS NULL THEN
        RETURN NULL;
    ELSIF jsonb_typeof(limits) <> 'array' OR limits = '[]' THEN
        RETURN 'limits is a list of at least one limit, or NULL';
    END IF;
    IF jsonb_path_exists(limits, '$[*].replaces') THEN
        names := ARRAY(SELECT e->>'name' FROM jsonb_array_elements(limits) e WHERE e ? 'name');
    END IF;
    FOR l IN SELECT jsonb_array_elements(limits) LOOP
        problem := public.rate_limit_limit_problem(l, names);
        IF problem IS NOT NULL THEN
            RETURN problem;
        ELSIF l->'unlimited' = 'true' AND jsonb_array_length(limits) > 1 THEN
            RETURN 'unlimited stands alone';
        END IF;
    END LOOP;
    RETURN NULL;
END $$;

-- Texts that are known, none twice.
CREATE FUNCTION public.rate_limit_are_among(texts text[], known text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT texts <@ known AND array_position(texts, NULL) IS NULL
        AND cardinality(texts) = (SELECT count(DISTINCT one) FROM unnest(texts) AS one)
$$;
