BEGIN TRANSACTION;
CREATE TABLE datasets (
                run INTEGER NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL, source_type TEXT NOT NULL,
                source TEXT NOT NULL, schema TEXT NOT NULL, profile TEXT NOT NULL, tags TEXT NOT NULL,
                PRIMARY KEY (run, name, digest)
            );
CREATE TABLE experiment_tags (
                experiment_id INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
                PRIMARY KEY (experiment_id, key)
            ) WITHOUT ROWID;
CREATE TABLE experiments (
                experiment_id INTEGER PRIMARY KEY AUTOINCREMENT,
                name TEXT NOT NULL UNIQUE,
                artifact_location TEXT NOT NULL DEFAULT '',
                lifecycle_stage TEXT NOT NULL DEFAULT 'active',
                creation_time INTEGER NOT NULL,
                last_update_time INTEGER NOT NULL
            );
INSERT INTO "experiments" VALUES(0,'Default','','active',1796079053000,1796079053000);
CREATE TABLE latest_metrics (
                run INTEGER NOT NULL, key TEXT NOT NULL, step INTEGER NOT NULL, timestamp INTEGER NOT NULL,
                value REAL NOT NULL, is_nan INTEGER NOT NULL,
                PRIMARY KEY (run, key)
            ) WITHOUT ROWID;
INSERT INTO "latest_metrics" VALUES(1,'loss',2,1700000000002,1.66666666666666657414e-01,0);
INSERT INTO "latest_metrics" VALUES(2,'loss',2,1700000000002,8.33333333333333287074e-02,0);
CREATE TABLE logged_model_metrics (
                model INTEGER NOT NULL, key TEXT NOT NULL, step INTEGER NOT NULL, timestamp INTEGER NOT NULL,
                value REAL NOT NULL, is_nan INTEGER NOT NULL, run_id TEXT NOT NULL,
                dataset_name TEXT NOT NULL, dataset_digest TEXT NOT NULL,
                PRIMARY KEY (model, key, step, timestamp, value, is_nan, run_id, dataset_name, dataset_digest)
            ) WITHOUT ROWID;
CREATE TABLE logged_model_params (
                model INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (model, key)
            ) WITHOUT ROWID;
CREATE TABLE logged_model_tags (
                model INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (model, key)
            ) WITHOUT ROWID;
CREATE TABLE logged_models (
                id INTEGER PRIMARY KEY,
                model_id TEXT NOT NULL UNIQUE,
                experiment_id INTEGER NOT NULL,
                name TEXT NOT NULL,
                model_type TEXT NOT NULL,
                source_run_id TEXT NOT NULL,
                status TEXT NOT NULL,
                creation_time INTEGER NOT NULL,
                last_updated_time INTEGER NOT NULL,
                lifecycle_stage TEXT NOT NULL DEFAULT 'active'
            );
CREATE TABLE metrics (
                run INTEGER NOT NULL, key TEXT NOT NULL, step INTEGER NOT NULL, timestamp INTEGER NOT NULL,
                value REAL NOT NULL, is_nan INTEGER NOT NULL,
                PRIMARY KEY (run, key, step, timestamp, value, is_nan)
            ) WITHOUT ROWID;
INSERT INTO "metrics" VALUES(1,'loss',0,1700000000000,0.5,0);
INSERT INTO "metrics" VALUES(1,'loss',1,1700000000001,0.25,0);
INSERT INTO "metrics" VALUES(1,'loss',2,1700000000002,1.66666666666666657414e-01,0);
INSERT INTO "metrics" VALUES(2,'loss',0,1700000000000,0.25,0);
INSERT INTO "metrics" VALUES(2,'loss',1,1700000000001,0.125,0);
INSERT INTO "metrics" VALUES(2,'loss',2,1700000000002,8.33333333333333287074e-02,0);
CREATE TABLE migrations (name TEXT PRIMARY KEY, applied_at INTEGER NOT NULL);
INSERT INTO "migrations" VALUES('0001_runs',1796079053185);
INSERT INTO "migrations" VALUES('0002_models',1796079053189);
CREATE TABLE model_aliases (
                model INTEGER NOT NULL, alias TEXT NOT NULL, version INTEGER NOT NULL,
                PRIMARY KEY (model, alias)
            ) WITHOUT ROWID;
CREATE TABLE model_version_tags (
                version_id INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
                PRIMARY KEY (version_id, key)
            ) WITHOUT ROWID;
CREATE TABLE model_versions (
                id INTEGER PRIMARY KEY,
                model INTEGER NOT NULL,
                version INTEGER NOT NULL,
                stage TEXT NOT NULL,
                description TEXT NOT NULL,
                source TEXT NOT NULL,
                location TEXT NOT NULL,
                run_id TEXT NOT NULL,
                run_link TEXT NOT NULL,
                model_id TEXT NOT NULL,
                creation_time INTEGER NOT NULL,
                last_updated_time INTEGER NOT NULL,
                UNIQUE (model, version)
            );
CREATE TABLE params (
                run INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (run, key)
            ) WITHOUT ROWID;
INSERT INTO "params" VALUES(1,'alpha','0.5');
INSERT INTO "params" VALUES(2,'alpha','0.25');
CREATE TABLE registered_model_tags (
                model INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (model, key)
            ) WITHOUT ROWID;
CREATE TABLE registered_models (
                id INTEGER PRIMARY KEY,
                name TEXT NOT NULL UNIQUE,
                description TEXT NOT NULL,
                creation_time INTEGER NOT NULL,
                last_updated_time INTEGER NOT NULL,
                last_version INTEGER NOT NULL DEFAULT 0
            );
CREATE TABLE run_models (
                run INTEGER NOT NULL, role TEXT NOT NULL, model_id TEXT NOT NULL, step INTEGER NOT NULL,
                PRIMARY KEY (run, role, model_id)
            ) WITHOUT ROWID;
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
INSERT INTO "runs" VALUES(1,'62ede9d5cfbb9a204979f87b8a8111f8',0,'stellar-granite-624','user','FINISHED',1796079053445,1796079054798,'active');
INSERT INTO "runs" VALUES(2,'7123bbf3fd4571d421743f26ecdbc115',0,'serene-beacon-318','user','FINISHED',1796079055097,1796079055772,'active');
CREATE TABLE tags (
                run INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (run, key)
            ) WITHOUT ROWID;
INSERT INTO "tags" VALUES(1,'mlflow.project.backend','local');
INSERT INTO "tags" VALUES(1,'mlflow.project.entryPoint','main');
INSERT INTO "tags" VALUES(1,'mlflow.project.env','local');
INSERT INTO "tags" VALUES(1,'mlflow.runName','stellar-granite-624');
INSERT INTO "tags" VALUES(1,'mlflow.source.name','/home/user/project');
INSERT INTO "tags" VALUES(1,'mlflow.source.type','PROJECT');
INSERT INTO "tags" VALUES(1,'mlflow.user','user');
INSERT INTO "tags" VALUES(1,'projrun.command','python3 train.py 0.5');
INSERT INTO "tags" VALUES(1,'projrun.directory','/home/user/project');
INSERT INTO "tags" VALUES(1,'projrun.environment.key','');
INSERT INTO "tags" VALUES(1,'projrun.exit_code','0');
INSERT INTO "tags" VALUES(1,'projrun.project','kept');
INSERT INTO "tags" VALUES(1,'projrun.supervisor','fd8f5803dec8b4e3490727b19c09c27f');
INSERT INTO "tags" VALUES(1,'projrun.version','0.1.0');
INSERT INTO "tags" VALUES(2,'mlflow.project.backend','local');
INSERT INTO "tags" VALUES(2,'mlflow.project.entryPoint','main');
INSERT INTO "tags" VALUES(2,'mlflow.project.env','local');
INSERT INTO "tags" VALUES(2,'mlflow.runName','serene-beacon-318');
INSERT INTO "tags" VALUES(2,'mlflow.source.name','/home/user/project');
INSERT INTO "tags" VALUES(2,'mlflow.source.type','PROJECT');
INSERT INTO "tags" VALUES(2,'mlflow.user','user');
INSERT INTO "tags" VALUES(2,'projrun.command','python3 train.py 0.25');
INSERT INTO "tags" VALUES(2,'projrun.directory','/home/user/project');
INSERT INTO "tags" VALUES(2,'projrun.environment.key','');
INSERT INTO "tags" VALUES(2,'projrun.exit_code','0');
INSERT INTO "tags" VALUES(2,'projrun.project','kept');
INSERT INTO "tags" VALUES(2,'projrun.supervisor','8829968d439b2ae3435bbbc96266cd96');
INSERT INTO "tags" VALUES(2,'projrun.version','0.1.0');
CREATE INDEX runs_by_experiment ON runs (experiment_id, start_time);
CREATE INDEX logged_models_by_experiment ON logged_models (experiment_id, creation_time);
CREATE INDEX logged_models_by_run ON logged_models (source_run_id);
CREATE INDEX model_versions_by_run ON model_versions (run_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('experiments',0);
COMMIT;
PRAGMA user_version = 2;
PRAGMA application_id = 0;
