"""The SQL that makes the roles: PL/pgSQL, for what is to be done depends on what is there.

Braces are where names and lists go. The whole is one transaction, in which somebody who is no superuser is a member
of the owner's role: PostgreSQL asks for that to hand a table over.
"""

from psycopg.sql import SQL

HEAD = SQL("""\
-- bandshift's roles and what they may do. Run it as a superuser, or as one who may create roles and owns the schema
-- and the tables in it. It can be run again at any time: what it does not grant it takes away, roles that exist stay.
""")

BEGIN, COMMIT = SQL("BEGIN;\n"), SQL("COMMIT;\n")

IN_SCHEMA = SQL("""
CREATE SCHEMA IF NOT EXISTS {schema};
SET LOCAL search_path = {schema};
""")

MAKE = SQL("""
-- Not while somebody else changes the schema.
DO $wait$ BEGIN PERFORM pg_advisory_xact_lock({lock}); END $wait$;

DO $make$
DECLARE
    role_name text;
    relation record;
    modes constant text[] := CASE
        WHEN current_setting('server_version_num')::int >= 160000 THEN ARRAY['SET', 'USAGE'] ELSE ARRAY['USAGE']
    END;
BEGIN
    IF current_schema() IS NULL THEN
        RAISE EXCEPTION 'the search path names no schema that exists' USING ERRCODE = 'invalid_schema_name';
    END IF;

    -- The roles. None can log in until somebody says so, with ALTER ROLE ... LOGIN or by making a login its member.
    FOREACH role_name IN ARRAY {roles} LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = role_name) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL; -- somebody else was faster
        END;
    END LOOP;

    -- Grants do not hold these back.
    FOREACH role_name IN ARRAY {limited} LOOP
        IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = role_name)
            OR pg_has_role(role_name, {owner}, 'MEMBER')
            OR pg_has_role(role_name, 'pg_write_all_data', 'MEMBER')
        THEN
            RAISE EXCEPTION 'role % is a superuser, or a member of % or pg_write_all_data: no grant would hold it back',
                role_name, {owner} USING ERRCODE = 'invalid_grant_operation';
        END IF;
    END LOOP;

    -- Whoever runs this belongs to the owner meanwhile.
    IF EXISTS (SELECT FROM unnest(modes) AS mode WHERE NOT pg_has_role({owner}, mode)) THEN
        EXECUTE format('GRANT %I TO CURRENT_USER', {owner});
        PERFORM set_config('bandshift.lent', 'yes', true);
    END IF;

    -- The schema: all may use it, only its owner may put anything there.
    EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC', current_schema());
    FOREACH role_name IN ARRAY {limited} LOOP
        EXECUTE format('REVOKE ALL ON SCHEMA %I FROM %I', current_schema(), role_name);
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), role_name);
    END LOOP;
    EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %I TO %I', current_schema(), {owner});

    -- The database: plans and loads are staged in temporary tables.
    FOREACH role_name IN ARRAY {roles} LOOP
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), role_name);
    END LOOP;
    FOREACH role_name IN ARRAY {staging} LOOP
        EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO %I', current_database(), role_name);
    END LOOP;

    -- The tables: what the migrations made belongs to the owner. A view over tables of yours stays yours.
    FOR relation IN
        SELECT c.oid::regclass AS name
        FROM pg_catalog.pg_class AS c
        WHERE c.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = current_schema())
            AND (c.relname = ANY ({ours}) AND c.relkind IN ('r', 'p', 'v')
                OR c.relname = ANY ({facts}) AND c.relkind IN ('r', 'p'))
            AND pg_get_userbyid(c.relowner) <> {owner}
        ORDER BY c.relname
    LOOP
        EXECUTE format('ALTER TABLE %s OWNER TO %I', relation.name, {owner});
    END LOOP;
END
$make$;
""")

GRANT = SQL("""
DO $grant$
DECLARE
    entry record;
    role_name text;
    may boolean;
BEGIN
    FOR entry IN
        SELECT c.oid::regclass AS name, c.relowner
        FROM pg_catalog.pg_class AS c
        WHERE c.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = current_schema())
            AND c.relname = ANY ({tables})
            AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
            AND pg_has_role(c.relowner, 'USAGE')
        ORDER BY c.relname
    LOOP
        EXECUTE format('REVOKE ALL ON TABLE %s FROM PUBLIC', entry.name);
        FOR role_name IN SELECT rolname FROM pg_catalog.pg_roles WHERE rolname = ANY ({limited}) ORDER BY rolname LOOP
            EXECUTE format('REVOKE ALL ON TABLE %s FROM %I', entry.name, role_name);
        END LOOP;
    END LOOP;

    FOR entry IN
        SELECT granted.grantee, granted.privileges, c.oid::regclass AS name, c.relowner, c.relkind
        FROM (VALUES
            {grants}
        ) AS granted (grantee, table_name, privileges)
        JOIN pg_catalog.pg_roles AS r ON r.rolname = granted.grantee
        JOIN pg_catalog.pg_class AS c ON c.relname = granted.table_name AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
            AND c.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = current_schema())
        WHERE granted.privileges <> 'MAINTAIN'
            OR current_setting('server_version_num')::int >= 170000 AND c.relkind IN ('r', 'p')
        ORDER BY granted.grantee, granted.table_name
    LOOP
        IF pg_has_role(entry.relowner, 'USAGE') THEN
            EXECUTE format('GRANT %s ON TABLE %s TO %I', entry.privileges, entry.name, entry.grantee);
        ELSE
            RAISE WARNING '% belongs to %, who has to: GRANT % ON % TO %',
                entry.name, pg_get_userbyid(entry.relowner), entry.privileges, entry.name, entry.grantee;
        END IF;
    END LOOP;
END
$grant$;
""")

GIVE_BACK = SQL("""
DO $give_back$
BEGIN
    IF current_setting('bandshift.lent', true) = 'yes' THEN
        EXECUTE format('REVOKE %I FROM CURRENT_USER', {owner});
    END IF;
END
$give_back$;
""")
