BEGIN TRANSACTION;
CREATE TABLE datasets (
                run INTEGER NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL, source_type TEXT NOT NULL,
                source TEXT NOT NULL, schema TEXT NOT NULL, profile TEXT NOT NULL, tags TEXT NOT NULL,
                PRIMARY KEY (run, name, digest)
            );
INSERT INTO "datasets" VALUES(1,'rows','d','local','{}','','','{}');
CREATE TABLE experiment_tags (
                experiment_id INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
                PRIMARY KEY (experiment_id, key)
            ) WITHOUT ROWID;
INSERT INTO "experiment_tags" VALUES(1,'owner','me');
CREATE TABLE experiments (
                experiment_id INTEGER PRIMARY KEY AUTOINCREMENT,
                name TEXT NOT NULL UNIQUE,
                artifact_location TEXT NOT NULL DEFAULT '',
                lifecycle_stage TEXT NOT NULL DEFAULT 'active',
                creation_time INTEGER NOT NULL,
                last_update_time INTEGER NOT NULL
            );
INSERT INTO "experiments" VALUES(0,'Default','','active',1700000000000,1700000000000);
INSERT INTO "experiments" VALUES(1,'old','','active',1,2);
CREATE TABLE latest_metrics (
                run INTEGER NOT NULL, key TEXT NOT NULL, step INTEGER NOT NULL, timestamp INTEGER NOT NULL,
                value REAL NOT NULL, is_nan INTEGER NOT NULL,
                PRIMARY KEY (run, key)
            ) WITHOUT ROWID;
INSERT INTO "latest_metrics" VALUES(1,'loss',1,2,0.25,0);
INSERT INTO "latest_metrics" VALUES(1,'nan',0,1,0.0,1);
CREATE TABLE metrics (
                run INTEGER NOT NULL, key TEXT NOT NULL, step INTEGER NOT NULL, timestamp INTEGER NOT NULL,
                value REAL NOT NULL, is_nan INTEGER NOT NULL,
                PRIMARY KEY (run, key, step, timestamp, value, is_nan)
            ) WITHOUT ROWID;
INSERT INTO "metrics" VALUES(1,'loss',0,1,0.5,0);
INSERT INTO "metrics" VALUES(1,'loss',1,2,0.25,0);
INSERT INTO "metrics" VALUES(1,'nan',0,1,0.0,1);
CREATE TABLE migrations (name TEXT PRIMARY KEY, applied_at INTEGER NOT NULL);
INSERT INTO "migrations" VALUES('0001_runs',1700000000000);
CREATE TABLE params (
                run INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (run, key)
            ) WITHOUT ROWID;
INSERT INTO "params" VALUES(1,'depth','3');
CREATE TABLE runs (
                id INTEGER PRIMARY KEY,
                run_id TEXT NOT NULL UNIQUE,
                experiment_id INTEGER NOT NULL,
                name TEXT NOT NULL,
                user_id TEXT NOT NULL,
                status TEXT NOT NULL,
                start_time INTEGER NOT NULL,
                end_time INTEGER,
                lifecycle_stage TEXT NOT NULL DEFAULT 'active'
            );
INSERT INTO "runs" VALUES(1,'0123456789abcdef0123456789abcdef',1,'kept','me','FINISHED',5,6,'active');
CREATE TABLE tags (
                run INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (run, key)
            ) WITHOUT ROWID;
INSERT INTO "tags" VALUES(1,'team','blue');
CREATE INDEX runs_by_experiment ON runs (experiment_id, start_time);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('experiments',1);
COMMIT;
PRAGMA user_version = 1;
PRAGMA journal_mode = WAL;
