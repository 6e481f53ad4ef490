-- Triggers that give every change its revision, stamp and version, whoever makes it: Tidegate or somebody with SQL.
--
-- Before a statement the head is locked; so only one transaction at a time changes rules, and locks are always taken in
-- this order. Each changed row gets the revision that the transaction has taken, or is about to. After the statement,
-- if it changed anything, the revision is taken, which is announced when the transaction commits, and versions are
-- written.
--
-- Who and why can be said by SET LOCAL tidegate.author = '...' and tidegate.reason; otherwise it is the session's user.

-- Locks the head and tells it.
CREATE FUNCTION public.rule_set_lock(OUT epoch text, OUT revision bigint, OUT accepted_at timestamptz)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT h.epoch::text, h.revision, h.accepted_at FROM public.rule_set_head h FOR UPDATE
$$;
REVOKE EXECUTE ON FUNCTION public.rule_set_lock() FROM PUBLIC;

-- Says that what is here holds, whatever replicas had before: names another history of revisions and takes a revision.
CREATE FUNCTION public.rule_set_accept(author text DEFAULT session_user, reason text DEFAULT NULL,
    OUT epoch text, OUT revision bigint, OUT accepted_at timestamptz)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE public.rule_set_head h SET epoch = md5(gen_random_uuid()::text || gen_random_uuid()::text)::uuid,
        revision = h.revision + 1, taken_by = pg_current_xact_id(), taken_at = transaction_timestamp(),
        accepted_at = statement_timestamp(), accepted_by = author, accepted_reason = reason
    RETURNING h.epoch::text, h.revision, h.accepted_at
$$;
REVOKE EXECUTE ON FUNCTION public.rule_set_accept(text, text) FROM PUBLIC;

CREATE FUNCTION public.rule_set_before_statement() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM 1 FROM public.rule_set_head FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'rule_set_head has lost its row; put it back: INSERT INTO rule_set_head DEFAULT VALUES';
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION public.rule_set_before_row() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    next bigint;
    is_deleted boolean := false;
    is_moved boolean;
BEGIN
    SELECT h.revision + (h.taken_by IS DISTINCT FROM pg_current_xact_id()
        OR h.taken_at IS DISTINCT FROM transaction_timestamp())::int INTO next FROM public.rule_set_head h;
    IF TG_OP = 'INSERT' THEN
        -- A tombstone gives way.
        IF TG_TABLE_NAME = 'rate_limit_rules' THEN
            SELECT t.deleted INTO is_deleted FROM public.rate_limit_rules t
                WHERE t.domain = NEW.domain AND t.path = NEW.path;
            IF is_deleted THEN
                DELETE FROM public.rate_limit_rules t WHERE t.domain = NEW.domain AND t.path = NEW.path;
            END IF;
        ELSIF TG_TABLE_NAME = 'rate_limit_overrides' THEN
            SELECT t.deleted INTO is_deleted FROM public.rate_limit_overrides t
                WHERE t.domain = NEW.domain AND t.path = NEW.path;
            IF is_deleted THEN
                DELETE FROM public.rate_limit_overrides t WHERE t.domain = NEW.domain AND t.path = NEW.path;
            END IF;
        ELSE
            SELECT t.deleted INTO is_deleted FROM public.rate_limit_domains t WHERE t.domain = NEW.domain;
            IF is_deleted THEN
                DELETE FROM public.rate_limit_domains t WHERE t.domain = NEW.domain;
            END IF;
        END IF;
        NEW.deleted := false;
    ELSE
        is_moved := NEW.domain <> OLD.domain;
        IF TG_TABLE_NAME <> 'rate_limit_domains' THEN
            is_moved := is_moved OR NEW.path <> OLD.path;
        END IF;
        IF is_moved THEN
            RAISE EXCEPTION 'a record keeps its domain and path; delete it and insert another'
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        IF TG_TABLE_NAME = 'rate_limit_rules' THEN
            -- Generated anew after this.
            NEW.algorithm := OLD.algorithm;
        END IF;
        NEW.revision := OLD.revision;
        NEW.created_at := OLD.created_at;
        NEW.created_by := OLD.created_by;
        NEW.updated_at := OLD.updated_at;
        NEW.updated_by := OLD.updated_by;
        -- Nothing changes, or a tombstone is written to.
        IF OLD.deleted AND NEW.deleted OR NEW IS NOT DISTINCT FROM OLD THEN
            RETURN NULL;
        END IF;
        is_deleted := OLD.deleted;
    END IF;
    NEW.revision := next;
    NEW.updated_at := statement_timestamp();
    NEW.updated_by := coalesce(nullif(current_setting('tidegate.author', true), ''), session_user);
    IF TG_OP = 'INSERT' OR is_deleted THEN
        NEW.created_at := NEW.updated_at;
        NEW.created_by := NEW.updated_by;
    END IF;
    RETURN NEW;
END $$;

-- What is deleted stays as a tombstone, so that replicas learn of it.
CREATE FUNCTION public.rule_set_before_delete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.deleted THEN
        -- Only the insert that takes its place removes a tombstone.
        IF pg_trigger_depth() > 1 THEN
            RETURN OLD;
        END IF;
    ELSIF TG_TABLE_NAME = 'rate_limit_rules' THEN
        UPDATE public.rate_limit_rules t SET deleted = true WHERE t.domain = OLD.domain AND t.path = OLD.path;
    ELSIF TG_TABLE_NAME = 'rate_limit_overrides' THEN
        UPDATE public.rate_limit_overrides t SET deleted = true WHERE t.domain = OLD.domain AND t.path = OLD.path;
    ELSE
        UPDATE public.rate_limit_domains t SET deleted = true WHERE t.domain = OLD.domain;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION public.rule_set_after_statement() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
-- A plan made for a few rows is kept and used for many too; the one that is never bad hashes.
SET enable_nestloop = off AS $$
DECLARE
    record_kind public.rate_limit_record_kind := TG_ARGV[0];
    -- An empty setting is none, unless it is said to be one.
    reason text := CASE WHEN current_setting('tidegate.has_reason', true) = 'true'
        THEN current_setting('tidegate.reason', true) ELSE nullif(current_setting('tidegate.reason', true), '') END;
BEGIN
    IF NOT EXISTS (SELECT FROM new_rows) THEN
        RETURN NULL;
    END IF;
    UPDATE public.rule_set_head h
        SET revision = h.revision + 1, taken_by = pg_current_xact_id(), taken_at = transaction_timestamp()
        WHERE h.taken_by IS DISTINCT FROM pg_current_xact_id() OR h.taken_at IS DISTINCT FROM transaction_timestamp();
    -- Several changes of a record in one transaction are one version.
    IF TG_OP = 'INSERT' THEN
        INSERT INTO public.rate_limit_rule_history AS v
            SELECT (n.r->>'revision')::bigint, n.r->>'domain', record_kind, coalesce(n.r->>'path', ''),
                (n.r->>'updated_at')::timestamptz, n.r->>'updated_by', reason,
                NULL, public.rate_limit_content(TG_ARGV[0], n.r)
            FROM (SELECT to_jsonb(row) AS r FROM new_rows row OFFSET 0) n
            ON CONFLICT (domain, kind, path, revision) DO UPDATE SET after = EXCLUDED.after, reason = EXCLUDED.reason;
    ELSE
        INSERT INTO public.rate_limit_rule_history AS v
            SELECT (n.r->>'revision')::bigint, n.r->>'domain', record_kind, coalesce(n.r->>'path', ''),
                (n.r->>'updated_at')::timestamptz, n.r->>'updated_by', reason,
                public.rate_limit_content(TG_ARGV[0], o.r), public.rate_limit_content(TG_ARGV[0], n.r)
            FROM (SELECT to_jsonb(row) AS r FROM new_rows row OFFSET 0) n
            JOIN (SELECT to_jsonb(row) AS r FROM old_rows row OFFSET 0) o
                ON o.r->>'domain' = n.r->>'domain' AND coalesce(o.r->>'path', '') = coalesce(n.r->>'path', '')
            ON CONFLICT (domain, kind, path, revision) DO UPDATE SET after = EXCLUDED.after, reason = EXCLUDED.reason;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION public.rule_set_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % would be seen by no replica; use DELETE', lower(TG_OP), TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END $$;

DO $$
DECLARE
    the record;
BEGIN
    FOR the IN VALUES
        ('rate_limit_domains', 'domain'), ('rate_limit_rules', 'rule'), ('rate_limit_overrides', 'override') LOOP
        EXECUTE format('CREATE TRIGGER lock BEFORE INSERT OR UPDATE OR DELETE ON public.%I
            FOR EACH STATEMENT EXECUTE FUNCTION public.rule_set_before_statement()', the.column1);
        EXECUTE format('CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON public.%I
            FOR EACH ROW EXECUTE FUNCTION public.rule_set_before_row()', the.column1);
        EXECUTE format('CREATE TRIGGER bury BEFORE DELETE ON public.%I
            FOR EACH ROW EXECUTE FUNCTION public.rule_set_before_delete()', the.column1);
        EXECUTE format('CREATE TRIGGER version_inserted AFTER INSERT ON public.%I REFERENCING NEW TABLE AS new_rows
            FOR EACH STATEMENT EXECUTE FUNCTION public.rule_set_after_statement(%L)', the.column1, the.column2);
        EXECUTE format('CREATE TRIGGER version_updated AFTER UPDATE ON public.%I
            REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
            FOR EACH STATEMENT EXECUTE FUNCTION public.rule_set_after_statement(%L)', the.column1, the.column2);
        EXECUTE format('CREATE TRIGGER no_truncate BEFORE TRUNCATE ON public.%I
            FOR EACH STATEMENT EXECUTE FUNCTION public.rule_set_refuse()', the.column1);
    END LOOP;
END $$;

-- The head.
CREATE FUNCTION public.rule_set_head_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.revision < OLD.revision AND NEW.epoch = OLD.epoch THEN
        RAISE EXCEPTION 'revisions do not go back within an epoch; say that the older state holds: SELECT rule_set_accept()'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER forward BEFORE UPDATE ON public.rule_set_head
    FOR EACH ROW EXECUTE FUNCTION public.rule_set_head_changes();
CREATE TRIGGER keep BEFORE DELETE OR TRUNCATE ON public.rule_set_head
    FOR EACH STATEMENT EXECUTE FUNCTION public.rule_set_refuse();

-- Equal notices of one transaction are one.
CREATE FUNCTION public.rule_set_announce() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('tidegate_rules', h.revision::text) FROM public.rule_set_head h;
    RETURN NULL;
END $$;
CREATE TRIGGER announce AFTER UPDATE ON public.rule_set_head
    FOR EACH STATEMENT EXECUTE FUNCTION public.rule_set_announce();
