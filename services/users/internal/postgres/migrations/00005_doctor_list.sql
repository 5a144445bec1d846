-- +goose Up
-- How often the list of doctors has changed, so that a replica can tell whether a page that it remembers is still right.
-- The database counts, in the transaction of the change, so that no writer can forget to.
CREATE TABLE doctor_list (
    one_row boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    version bigint NOT NULL
);
INSERT INTO doctor_list (version) VALUES (1);
-- +goose StatementBegin
CREATE FUNCTION doctor_list_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE doctor_list SET version = version + 1;
    RETURN NULL;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER doctor_list_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON doctor_terms
    FOR EACH STATEMENT EXECUTE FUNCTION doctor_list_changed();

-- +goose Down
DROP TRIGGER doctor_list_changed ON doctor_terms;
DROP FUNCTION doctor_list_changed;
DROP TABLE doctor_list;
