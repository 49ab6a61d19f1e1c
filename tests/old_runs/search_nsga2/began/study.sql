BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('v3.2.0.a');
CREATE TABLE studies (
	study_id INTEGER NOT NULL, 
	study_name VARCHAR(512) NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO "studies" VALUES(1,'nas_bench_macro');
CREATE TABLE study_directions (
	study_direction_id INTEGER NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	study_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	PRIMARY KEY (study_direction_id), 
	UNIQUE (study_id, objective), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_directions" VALUES(1,'MAXIMIZE',1,0);
INSERT INTO "study_directions" VALUES(2,'MINIMIZE',1,1);
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_system_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_system_attributes" VALUES(1,1,'NSGAIISampler:parent:1','[4, 10, 11, 12, 14, 13, 15, 5, 6, 9]');
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_user_attributes" VALUES(1,1,'config','{"space": {"_target_": "search_spaces.nas_bench_macro.nas_bench_macro"}, "data": {"_target_": "nas.data.load_data", "name": "embedded", "resolution": null, "train": 64, "val": 64, "test": 64, "seed": 0, "flip": true}, "accuracy": {"_target_": "nas.accuracy.proxies.ZeroCost.open", "_partial_": true, "proxy": "log_macs"}, "budget": {"_target_": "nas.training.Budget", "epochs": 1, "batch_size": 64, "optimizer": "sgd", "lr": 0.05, "weight_decay": 0.0005, "momentum": 0.9, "warmup": 0.2, "label_smoothing": 0.0, "clip_norm": 5.0, "precision": "auto", "augment": false}, "latency": {"_target_": "nas.latency.lookup.Lookup", "path": "latency.csv", "device": null}, "table": {"_target_": "nas.latency.table.Effort", "blocks": 200, "calibrate": 40, "validate": 100, "repeat": 20, "seed": 0}, "sampler": {"_target_": "optuna.samplers.NSGAIISampler", "_partial_": true, "population_size": 10}, "target": 0.6, "limit": {"latency_ms": null, "macs": 60000000.0, "params": null, "memory_kb": null}, "width": 0.25, "references": [], "warm_start": null, "seed": 0, "workers": 1, "storage": "sqlite:///study.db", "data_fingerprint": "dccb522761a7bbba", "latency_table": "nas_bench_macro-28px-table-c7dbcf5f"}');
INSERT INTO "study_user_attributes" VALUES(2,1,'random:0','{"id": "c4820c2fd257", "state": "complete", "latency_ms": 0.33168809999999993, "macs": 29859648, "params": 1037706, "peak_memory_bytes": 40960, "arch": "r28 stem_k3_s1_c32_relu | mbconv_k3_s2_e3_c64_relu_d1 + identity_s1_c64_d1 | mbconv_k3_s2_e3_c128_relu_d3 | identity_s2_c256_d1 + mbconv_k3_s1_e3_c256_relu_d1 + identity_s1_c256_d1 | head_c1280_relu", "score": 17.212018561660223, "score_se": 0.0, "fidelity": "log_macs", "accuracy": null, "accuracy_se": null, "cross_entropy": null, "test_accuracy": null, "test_accuracy_se": null, "seconds": 0.00021040299998276168, "reason": "", "over": {"macs": -0.5023392, "latency_ms": -0.5393220833333334}, "rungs": {}}');
INSERT INTO "study_user_attributes" VALUES(3,1,'random:1','{"id": "68d774adc16e", "state": "complete", "latency_ms": 0.6021651, "macs": 48518464, "params": 1292522, "peak_memory_bytes": 40960, "arch": "r28 stem_k3_s1_c32_relu | mbconv_k5_s2_e6_c64_relu_d2 | mbconv_k3_s2_e3_c128_relu_d2 + identity_s1_c128_d1 | mbconv_k5_s2_e6_c256_relu_d1 + mbconv_k3_s1_e3_c256_relu_d1 + identity_s1_c256_d1 | head_c1280_relu", "score": 17.69745498449039, "score_se": 0.0, "fidelity": "log_macs", "accuracy": null, "accuracy_se": null, "cross_entropy": null, "test_accuracy": null, "test_accuracy_se": null, "seconds": 0.000272433999725763, "reason": "", "over": {"macs": -0.19135893333333331, "latency_ms": -0.1636595833333333}, "rungs": {}}');
INSERT INTO "study_user_attributes" VALUES(4,1,'alone:1','{"id": "77ec882a4a71", "state": "complete", "latency_ms": 0.4883950999999999, "macs": 44929600, "params": 1588298, "peak_memory_bytes": 40960, "arch": "r28 stem_k3_s1_c32_relu | mbconv_k3_s2_e3_c64_relu_d2 | mbconv_k3_s2_e3_c128_relu_d3 | mbconv_k3_s2_e3_c256_relu_d3 | head_c1280_relu", "score": -4.100944604724646, "score_se": 0.35609347949013176, "fidelity": "1 epochs", "accuracy": 0.03125, "accuracy_se": 0.02174907954230477, "cross_entropy": 4.100944604724646, "test_accuracy": 0.03125, "test_accuracy_se": 0.02174907954230477, "seconds": 1.0385064740003145, "reason": "", "over": {"latency_ms": -1.0}, "rungs": {}}');
INSERT INTO "study_user_attributes" VALUES(5,1,'seconds','26.1');
CREATE TABLE trial_heartbeats (
	trial_heartbeat_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	heartbeat DATETIME NOT NULL, 
	PRIMARY KEY (trial_heartbeat_id), 
	UNIQUE (trial_id), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_intermediate_values (
	trial_intermediate_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	intermediate_value FLOAT, 
	intermediate_value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_intermediate_value_id), 
	UNIQUE (trial_id, step), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_params (
	param_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	param_name VARCHAR(512), 
	param_value FLOAT, 
	distribution_json TEXT, 
	PRIMARY KEY (param_id), 
	UNIQUE (trial_id, param_name), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_params" VALUES(1,1,'stages.0.blocks.0',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(2,1,'stages.0.blocks.1',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(3,1,'stages.1.blocks.0',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(4,1,'stages.1.blocks.1',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(5,1,'stages.1.blocks.2',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(6,1,'stages.2.blocks.0',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(7,1,'stages.2.blocks.1',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(8,1,'stages.2.blocks.2',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(9,2,'stages.0.blocks.0',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(10,2,'stages.0.blocks.1',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(11,2,'stages.1.blocks.0',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(12,2,'stages.1.blocks.1',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(13,2,'stages.1.blocks.2',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(14,2,'stages.2.blocks.0',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(15,2,'stages.2.blocks.1',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(16,2,'stages.2.blocks.2',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(17,3,'stages.0.blocks.0',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(18,3,'stages.0.blocks.1',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(19,3,'stages.1.blocks.0',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(20,3,'stages.1.blocks.1',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(21,3,'stages.1.blocks.2',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(22,3,'stages.2.blocks.0',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(23,3,'stages.2.blocks.1',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(24,3,'stages.2.blocks.2',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(25,4,'stages.0.blocks.0',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(26,4,'stages.0.blocks.1',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(27,4,'stages.1.blocks.0',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(28,4,'stages.1.blocks.1',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(29,4,'stages.1.blocks.2',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(30,4,'stages.2.blocks.0',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(31,4,'stages.2.blocks.1',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(32,4,'stages.2.blocks.2',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(33,5,'stages.0.blocks.0',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(34,5,'stages.0.blocks.1',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(35,5,'stages.1.blocks.0',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(36,5,'stages.1.blocks.1',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(37,5,'stages.1.blocks.2',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(38,5,'stages.2.blocks.0',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(39,5,'stages.2.blocks.1',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(40,5,'stages.2.blocks.2',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(41,6,'stages.0.blocks.0',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(42,6,'stages.0.blocks.1',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(43,6,'stages.1.blocks.0',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(44,6,'stages.1.blocks.1',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(45,6,'stages.1.blocks.2',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(46,6,'stages.2.blocks.0',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(47,6,'stages.2.blocks.1',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(48,6,'stages.2.blocks.2',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(49,7,'stages.0.blocks.0',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(50,7,'stages.0.blocks.1',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(51,7,'stages.1.blocks.0',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(52,7,'stages.1.blocks.1',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(53,7,'stages.1.blocks.2',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(54,7,'stages.2.blocks.0',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(55,7,'stages.2.blocks.1',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(56,7,'stages.2.blocks.2',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(57,8,'stages.0.blocks.0',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(58,8,'stages.0.blocks.1',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(59,8,'stages.1.blocks.0',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(60,8,'stages.1.blocks.1',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(61,8,'stages.1.blocks.2',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(62,8,'stages.2.blocks.0',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(63,8,'stages.2.blocks.1',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(64,8,'stages.2.blocks.2',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(65,9,'stages.0.blocks.0',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(66,9,'stages.0.blocks.1',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(67,9,'stages.1.blocks.0',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(68,9,'stages.1.blocks.1',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(69,9,'stages.1.blocks.2',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(70,9,'stages.2.blocks.0',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(71,9,'stages.2.blocks.1',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(72,9,'stages.2.blocks.2',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(73,10,'stages.0.blocks.0',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(74,10,'stages.0.blocks.1',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(75,10,'stages.1.blocks.0',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(76,10,'stages.1.blocks.1',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(77,10,'stages.1.blocks.2',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(78,10,'stages.2.blocks.0',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(79,10,'stages.2.blocks.1',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(80,10,'stages.2.blocks.2',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(81,11,'stages.0.blocks.0',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(82,11,'stages.0.blocks.1',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(83,11,'stages.1.blocks.0',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(84,11,'stages.1.blocks.1',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(85,11,'stages.1.blocks.2',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(86,11,'stages.2.blocks.0',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(87,11,'stages.2.blocks.1',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(88,11,'stages.2.blocks.2',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(89,12,'stages.0.blocks.0',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(90,12,'stages.0.blocks.1',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(91,12,'stages.1.blocks.0',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(92,12,'stages.1.blocks.1',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(93,12,'stages.1.blocks.2',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(94,12,'stages.2.blocks.0',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(95,12,'stages.2.blocks.1',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(96,12,'stages.2.blocks.2',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(97,13,'stages.0.blocks.0',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(98,13,'stages.0.blocks.1',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(99,13,'stages.1.blocks.0',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(100,13,'stages.1.blocks.1',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(101,13,'stages.1.blocks.2',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(102,13,'stages.2.blocks.0',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(103,13,'stages.2.blocks.1',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(104,13,'stages.2.blocks.2',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(105,14,'stages.0.blocks.0',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(106,14,'stages.0.blocks.1',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(107,14,'stages.1.blocks.0',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(108,14,'stages.1.blocks.1',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(109,14,'stages.1.blocks.2',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(110,14,'stages.2.blocks.0',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(111,14,'stages.2.blocks.1',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(112,14,'stages.2.blocks.2',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(113,15,'stages.0.blocks.0',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(114,15,'stages.0.blocks.1',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(115,15,'stages.1.blocks.0',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(116,15,'stages.1.blocks.1',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(117,15,'stages.1.blocks.2',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(118,15,'stages.2.blocks.0',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(119,15,'stages.2.blocks.1',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(120,15,'stages.2.blocks.2',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(121,16,'stages.0.blocks.0',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(122,16,'stages.0.blocks.1',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(123,16,'stages.1.blocks.0',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(124,16,'stages.1.blocks.1',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(125,16,'stages.1.blocks.2',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(126,16,'stages.2.blocks.0',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(127,16,'stages.2.blocks.1',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
INSERT INTO "trial_params" VALUES(128,16,'stages.2.blocks.2',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["0", "1", "2"]}}');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_system_attributes" VALUES(1,1,'fixed_params','{"stages.0.blocks.0": "0", "stages.0.blocks.1": "0", "stages.1.blocks.0": "0", "stages.1.blocks.1": "0", "stages.1.blocks.2": "0", "stages.2.blocks.0": "0", "stages.2.blocks.1": "0", "stages.2.blocks.2": "0"}');
INSERT INTO "trial_system_attributes" VALUES(2,2,'fixed_params','{"stages.0.blocks.0": "1", "stages.0.blocks.1": "1", "stages.1.blocks.0": "1", "stages.1.blocks.1": "1", "stages.1.blocks.2": "1", "stages.2.blocks.0": "1", "stages.2.blocks.1": "1", "stages.2.blocks.2": "1"}');
INSERT INTO "trial_system_attributes" VALUES(3,3,'NSGAIISampler:generation','0');
INSERT INTO "trial_system_attributes" VALUES(4,4,'NSGAIISampler:generation','0');
INSERT INTO "trial_system_attributes" VALUES(5,5,'NSGAIISampler:generation','0');
INSERT INTO "trial_system_attributes" VALUES(6,6,'NSGAIISampler:generation','0');
INSERT INTO "trial_system_attributes" VALUES(7,7,'NSGAIISampler:generation','0');
INSERT INTO "trial_system_attributes" VALUES(8,8,'NSGAIISampler:generation','0');
INSERT INTO "trial_system_attributes" VALUES(9,1,'constraints:macs','-0.8865237333333333');
INSERT INTO "trial_system_attributes" VALUES(10,1,'constraints:latency_ms','-0.8719637499999999');
INSERT INTO "trial_system_attributes" VALUES(11,2,'constraints:macs','-0.25117333333333336');
INSERT INTO "trial_system_attributes" VALUES(12,2,'constraints:latency_ms','-0.3216734722222223');
INSERT INTO "trial_system_attributes" VALUES(13,3,'constraints:macs','0.1288256000000001');
INSERT INTO "trial_system_attributes" VALUES(14,3,'constraints:latency_ms','0.24813625000000017');
INSERT INTO "trial_system_attributes" VALUES(15,4,'constraints:macs','-0.3373162666666667');
INSERT INTO "trial_system_attributes" VALUES(16,4,'constraints:latency_ms','-0.3425943055555556');
INSERT INTO "trial_system_attributes" VALUES(17,5,'constraints:macs','-0.02714453333333333');
INSERT INTO "trial_system_attributes" VALUES(18,5,'constraints:latency_ms','0.05635430555555576');
INSERT INTO "trial_system_attributes" VALUES(19,6,'constraints:macs','-0.007676800000000039');
INSERT INTO "trial_system_attributes" VALUES(20,6,'constraints:latency_ms','0.058637638888888954');
INSERT INTO "trial_system_attributes" VALUES(21,7,'constraints:macs','0.09492906666666667');
INSERT INTO "trial_system_attributes" VALUES(22,7,'constraints:latency_ms','0.1319793055555556');
INSERT INTO "trial_system_attributes" VALUES(23,8,'constraints:macs','0.061865599999999965');
INSERT INTO "trial_system_attributes" VALUES(24,8,'constraints:latency_ms','0.16069319444444452');
INSERT INTO "trial_system_attributes" VALUES(25,9,'NSGAIISampler:generation','0');
INSERT INTO "trial_system_attributes" VALUES(26,10,'NSGAIISampler:generation','0');
INSERT INTO "trial_system_attributes" VALUES(27,11,'NSGAIISampler:generation','0');
INSERT INTO "trial_system_attributes" VALUES(28,12,'NSGAIISampler:generation','0');
INSERT INTO "trial_system_attributes" VALUES(29,13,'NSGAIISampler:generation','0');
INSERT INTO "trial_system_attributes" VALUES(30,14,'NSGAIISampler:generation','0');
INSERT INTO "trial_system_attributes" VALUES(31,15,'NSGAIISampler:generation','0');
INSERT INTO "trial_system_attributes" VALUES(32,9,'constraints:macs','-0.007155200000000028');
INSERT INTO "trial_system_attributes" VALUES(33,9,'constraints:latency_ms','0.06369319444444455');
INSERT INTO "trial_system_attributes" VALUES(34,10,'constraints:macs','-0.1429952');
INSERT INTO "trial_system_attributes" VALUES(35,10,'constraints:latency_ms','-0.11420958333333331');
INSERT INTO "trial_system_attributes" VALUES(36,11,'constraints:macs','-0.4871605333333333');
INSERT INTO "trial_system_attributes" VALUES(37,11,'constraints:latency_ms','-0.46646513888888896');
INSERT INTO "trial_system_attributes" VALUES(38,12,'constraints:macs','-0.044779733333333294');
INSERT INTO "trial_system_attributes" VALUES(39,12,'constraints:latency_ms','-0.05053458333333327');
INSERT INTO "trial_system_attributes" VALUES(40,13,'constraints:macs','-0.05447253333333335');
INSERT INTO "trial_system_attributes" VALUES(41,13,'constraints:latency_ms','-0.01728458333333327');
INSERT INTO "trial_system_attributes" VALUES(42,14,'constraints:macs','-0.16441813333333333');
INSERT INTO "trial_system_attributes" VALUES(43,14,'constraints:latency_ms','-0.13657624999999995');
INSERT INTO "trial_system_attributes" VALUES(44,15,'constraints:macs','-0.15103786666666663');
INSERT INTO "trial_system_attributes" VALUES(45,15,'constraints:latency_ms','-0.09914986111111102');
INSERT INTO "trial_system_attributes" VALUES(46,16,'NSGAIISampler:generation','1');
INSERT INTO "trial_system_attributes" VALUES(47,16,'constraints:macs','-0.5730869333333333');
INSERT INTO "trial_system_attributes" VALUES(48,16,'constraints:latency_ms','-0.5422429166666667');
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_user_attributes" VALUES(1,1,'name','""');
INSERT INTO "trial_user_attributes" VALUES(2,2,'name','""');
INSERT INTO "trial_user_attributes" VALUES(3,1,'batch','0');
INSERT INTO "trial_user_attributes" VALUES(4,2,'batch','0');
INSERT INTO "trial_user_attributes" VALUES(5,3,'batch','0');
INSERT INTO "trial_user_attributes" VALUES(6,4,'batch','0');
INSERT INTO "trial_user_attributes" VALUES(7,5,'batch','0');
INSERT INTO "trial_user_attributes" VALUES(8,6,'batch','0');
INSERT INTO "trial_user_attributes" VALUES(9,7,'batch','0');
INSERT INTO "trial_user_attributes" VALUES(10,8,'batch','0');
INSERT INTO "trial_user_attributes" VALUES(11,3,'metrics','{"id": "077933d4de69", "state": "infeasible", "latency_ms": 0.8986581000000001, "macs": 67729536, "params": 1816106, "peak_memory_bytes": 40960, "arch": "r28 stem_k3_s1_c32_relu | mbconv_k5_s2_e6_c64_relu_d2 | mbconv_k5_s2_e6_c128_relu_d3 | identity_s2_c256_d2 + mbconv_k5_s1_e6_c256_relu_d1 | head_c1280_relu", "score": null, "score_se": null, "fidelity": "", "accuracy": null, "accuracy_se": null, "cross_entropy": null, "test_accuracy": null, "test_accuracy_se": null, "seconds": 0.0, "reason": "macs +13% over, latency_ms +25% over", "over": {"macs": 0.1288256000000001, "latency_ms": 0.24813625000000017}, "rungs": {}}');
INSERT INTO "trial_user_attributes" VALUES(12,5,'metrics','{"id": "6fb1db03b33b", "state": "infeasible", "latency_ms": 0.7605751000000001, "macs": 58371328, "params": 1924522, "peak_memory_bytes": 40960, "arch": "r28 stem_k3_s1_c32_relu | mbconv_k5_s2_e6_c64_relu_d1 + identity_s1_c64_d1 | mbconv_k5_s2_e6_c128_relu_d1 + mbconv_k3_s1_e3_c128_relu_d1 + mbconv_k5_s1_e6_c128_relu_d1 | mbconv_k5_s2_e6_c256_relu_d2 + identity_s1_c256_d1 | head_c1280_relu", "score": null, "score_se": null, "fidelity": "", "accuracy": null, "accuracy_se": null, "cross_entropy": null, "test_accuracy": null, "test_accuracy_se": null, "seconds": 0.0, "reason": "latency_ms +6% over", "over": {"macs": -0.02714453333333333, "latency_ms": 0.05635430555555576}, "rungs": {}}');
INSERT INTO "trial_user_attributes" VALUES(13,6,'metrics','{"id": "582863b85ed3", "state": "infeasible", "latency_ms": 0.7622191, "macs": 59539392, "params": 2217642, "peak_memory_bytes": 40960, "arch": "r28 stem_k3_s1_c32_relu | identity_s2_c64_d1 + mbconv_k5_s1_e6_c64_relu_d1 | mbconv_k3_s2_e3_c128_relu_d1 + mbconv_k5_s1_e6_c128_relu_d1 + identity_s1_c128_d1 | mbconv_k5_s2_e6_c256_relu_d1 + mbconv_k3_s1_e3_c256_relu_d1 + mbconv_k5_s1_e6_c256_relu_d1 | head_c1280_relu", "score": null, "score_se": null, "fidelity": "", "accuracy": null, "accuracy_se": null, "cross_entropy": null, "test_accuracy": null, "test_accuracy_se": null, "seconds": 0.0, "reason": "latency_ms +6% over", "over": {"macs": -0.007676800000000039, "latency_ms": 0.058637638888888954}, "rungs": {}}');
INSERT INTO "trial_user_attributes" VALUES(14,7,'metrics','{"id": "6e82be6d1030", "state": "infeasible", "latency_ms": 0.8150251, "macs": 65695744, "params": 2190698, "peak_memory_bytes": 40960, "arch": "r28 stem_k3_s1_c32_relu | mbconv_k5_s2_e6_c64_relu_d1 + mbconv_k3_s1_e3_c64_relu_d1 | mbconv_k5_s2_e6_c128_relu_d1 + mbconv_k3_s1_e3_c128_relu_d1 + mbconv_k5_s1_e6_c128_relu_d1 | mbconv_k3_s2_e3_c256_relu_d2 + mbconv_k5_s1_e6_c256_relu_d1 | head_c1280_relu", "score": null, "score_se": null, "fidelity": "", "accuracy": null, "accuracy_se": null, "cross_entropy": null, "test_accuracy": null, "test_accuracy_se": null, "seconds": 0.0, "reason": "macs +9% over, latency_ms +13% over", "over": {"macs": 0.09492906666666667, "latency_ms": 0.1319793055555556}, "rungs": {}}');
INSERT INTO "trial_user_attributes" VALUES(15,8,'metrics','{"id": "eb207c9e25df", "state": "infeasible", "latency_ms": 0.8356991, "macs": 63711936, "params": 2033066, "peak_memory_bytes": 40960, "arch": "r28 stem_k3_s1_c32_relu | identity_s2_c64_d1 + mbconv_k5_s1_e6_c64_relu_d1 | mbconv_k3_s2_e3_c128_relu_d1 + mbconv_k5_s1_e6_c128_relu_d2 | mbconv_k5_s2_e6_c256_relu_d2 + identity_s1_c256_d1 | head_c1280_relu", "score": null, "score_se": null, "fidelity": "", "accuracy": null, "accuracy_se": null, "cross_entropy": null, "test_accuracy": null, "test_accuracy_se": null, "seconds": 0.0, "reason": "macs +6% over, latency_ms +16% over", "over": {"macs": 0.061865599999999965, "latency_ms": 0.16069319444444452}, "rungs": {}}');
INSERT INTO "trial_user_attributes" VALUES(16,1,'metrics','{"id": "ff5e55d8ca80", "state": "complete", "latency_ms": 0.0921861, "macs": 6808576, "params": 387306, "peak_memory_bytes": 40960, "arch": "r28 stem_k3_s1_c32_relu | identity_s2_c64_d2 | identity_s2_c128_d3 | identity_s2_c256_d3 | head_c1280_relu", "score": 15.733693552001908, "score_se": 0.0, "fidelity": "log_macs", "accuracy": null, "accuracy_se": null, "cross_entropy": null, "test_accuracy": null, "test_accuracy_se": null, "seconds": 0.00019887600001311512, "reason": "", "over": {"macs": -0.8865237333333333, "latency_ms": -0.8719637499999999}, "rungs": {}}');
INSERT INTO "trial_user_attributes" VALUES(17,2,'metrics','{"id": "77ec882a4a71", "state": "complete", "latency_ms": 0.4883950999999999, "macs": 44929600, "params": 1588298, "peak_memory_bytes": 40960, "arch": "r28 stem_k3_s1_c32_relu | mbconv_k3_s2_e3_c64_relu_d2 | mbconv_k3_s2_e3_c128_relu_d3 | mbconv_k3_s2_e3_c256_relu_d3 | head_c1280_relu", "score": 17.62060737826912, "score_se": 0.0, "fidelity": "log_macs", "accuracy": null, "accuracy_se": null, "cross_entropy": null, "test_accuracy": null, "test_accuracy_se": null, "seconds": 0.0001984350001293933, "reason": "", "over": {"macs": -0.25117333333333336, "latency_ms": -0.3216734722222223}, "rungs": {}}');
INSERT INTO "trial_user_attributes" VALUES(18,4,'metrics','{"id": "db4cdffbc11a", "state": "complete", "latency_ms": 0.4733321, "macs": 39761024, "params": 1838026, "peak_memory_bytes": 40960, "arch": "r28 stem_k3_s1_c32_relu | mbconv_k3_s2_e3_c64_relu_d1 + identity_s1_c64_d1 | identity_s2_c128_d1 + mbconv_k3_s1_e3_c128_relu_d2 | identity_s2_c256_d1 + mbconv_k3_s1_e3_c256_relu_d1 + mbconv_k5_s1_e6_c256_relu_d1 | head_c1280_relu", "score": 17.498397693948167, "score_se": 0.0, "fidelity": "log_macs", "accuracy": null, "accuracy_se": null, "cross_entropy": null, "test_accuracy": null, "test_accuracy_se": null, "seconds": 0.0002470979998179246, "reason": "", "over": {"macs": -0.3373162666666667, "latency_ms": -0.3425943055555556}, "rungs": {}}');
INSERT INTO "trial_user_attributes" VALUES(19,9,'batch','8');
INSERT INTO "trial_user_attributes" VALUES(20,10,'batch','8');
INSERT INTO "trial_user_attributes" VALUES(21,11,'batch','8');
INSERT INTO "trial_user_attributes" VALUES(22,12,'batch','8');
INSERT INTO "trial_user_attributes" VALUES(23,13,'batch','8');
INSERT INTO "trial_user_attributes" VALUES(24,14,'batch','8');
INSERT INTO "trial_user_attributes" VALUES(25,15,'batch','8');
INSERT INTO "trial_user_attributes" VALUES(26,9,'metrics','{"id": "a187093e5d85", "state": "infeasible", "latency_ms": 0.7658591, "macs": 59570688, "params": 2569322, "peak_memory_bytes": 40960, "arch": "r28 stem_k3_s1_c32_relu | identity_s2_c64_d2 | mbconv_k5_s2_e6_c128_relu_d2 + mbconv_k3_s1_e3_c128_relu_d1 | mbconv_k3_s2_e3_c256_relu_d1 + mbconv_k5_s1_e6_c256_relu_d2 | head_c1280_relu", "score": null, "score_se": null, "fidelity": "", "accuracy": null, "accuracy_se": null, "cross_entropy": null, "test_accuracy": null, "test_accuracy_se": null, "seconds": 0.0, "reason": "latency_ms +6% over", "over": {"macs": -0.007155200000000028, "latency_ms": 0.06369319444444455}, "rungs": {}}');
INSERT INTO "trial_user_attributes" VALUES(27,10,'metrics','{"id": "ecc2f55124b3", "state": "complete", "latency_ms": 0.6377691, "macs": 51420288, "params": 2190698, "peak_memory_bytes": 40960, "arch": "r28 stem_k3_s1_c32_relu | identity_s2_c64_d2 | mbconv_k5_s2_e6_c128_relu_d1 + mbconv_k3_s1_e3_c128_relu_d2 | mbconv_k5_s2_e6_c256_relu_d2 + mbconv_k3_s1_e3_c256_relu_d1 | head_c1280_relu", "score": 17.75554336071982, "score_se": 0.0, "fidelity": "log_macs", "accuracy": null, "accuracy_se": null, "cross_entropy": null, "test_accuracy": null, "test_accuracy_se": null, "seconds": 0.00020295100011935574, "reason": "", "over": {"macs": -0.1429952, "latency_ms": -0.11420958333333331}, "rungs": {}}');
INSERT INTO "trial_user_attributes" VALUES(28,11,'metrics','{"id": "a9e0b4c897ea", "state": "complete", "latency_ms": 0.38414509999999996, "macs": 30770368, "params": 752042, "peak_memory_bytes": 40960, "arch": "r28 stem_k3_s1_c32_relu | mbconv_k5_s2_e6_c64_relu_d1 + mbconv_k3_s1_e3_c64_relu_d1 | mbconv_k3_s2_e3_c128_relu_d1 + identity_s1_c128_d2 | mbconv_k5_s2_e6_c256_relu_d1 + identity_s1_c256_d2 | head_c1280_relu", "score": 17.242062706927715, "score_se": 0.0, "fidelity": "log_macs", "accuracy": null, "accuracy_se": null, "cross_entropy": null, "test_accuracy": null, "test_accuracy_se": null, "seconds": 0.00023585000008097268, "reason": "", "over": {"macs": -0.4871605333333333, "latency_ms": -0.46646513888888896}, "rungs": {}}');
INSERT INTO "trial_user_attributes" VALUES(29,12,'metrics','{"id": "6dfbbd8882c9", "state": "complete", "latency_ms": 0.6836151, "macs": 57313216, "params": 2131658, "peak_memory_bytes": 40960, "arch": "r28 stem_k3_s1_c32_relu | mbconv_k3_s2_e3_c64_relu_d2 | mbconv_k3_s2_e3_c128_relu_d1 + mbconv_k5_s1_e6_c128_relu_d1 + mbconv_k3_s1_e3_c128_relu_d1 | mbconv_k3_s2_e3_c256_relu_d1 + mbconv_k5_s1_e6_c256_relu_d1 + mbconv_k3_s1_e3_c256_relu_d1 | head_c1280_relu", "score": 17.86404180081459, "score_se": 0.0, "fidelity": "log_macs", "accuracy": null, "accuracy_se": null, "cross_entropy": null, "test_accuracy": null, "test_accuracy_se": null, "seconds": 0.0002594249999674503, "reason": "", "over": {"macs": -0.044779733333333294, "latency_ms": -0.05053458333333327}, "rungs": {}}');
INSERT INTO "trial_user_attributes" VALUES(30,13,'metrics','{"id": "2bb99ba29b2a", "state": "complete", "latency_ms": 0.7075551, "macs": 56731648, "params": 1523946, "peak_memory_bytes": 40960, "arch": "r28 stem_k3_s1_c32_relu | mbconv_k5_s2_e6_c64_relu_d1 + mbconv_k3_s1_e3_c64_relu_d1 | mbconv_k5_s2_e6_c128_relu_d2 + mbconv_k3_s1_e3_c128_relu_d1 | mbconv_k5_s2_e6_c256_relu_d1 + identity_s1_c256_d1 + mbconv_k3_s1_e3_c256_relu_d1 | head_c1280_relu", "score": 17.853842778766232, "score_se": 0.0, "fidelity": "log_macs", "accuracy": null, "accuracy_se": null, "cross_entropy": null, "test_accuracy": null, "test_accuracy_se": null, "seconds": 0.00024870900006135344, "reason": "", "over": {"macs": -0.05447253333333335, "latency_ms": -0.01728458333333327}, "rungs": {}}');
INSERT INTO "trial_user_attributes" VALUES(31,14,'metrics','{"id": "f1e08e04c5df", "state": "complete", "latency_ms": 0.6216651, "macs": 50134912, "params": 1868010, "peak_memory_bytes": 40960, "arch": "r28 stem_k3_s1_c32_relu | mbconv_k5_s2_e6_c64_relu_d1 + mbconv_k3_s1_e3_c64_relu_d1 | mbconv_k5_s2_e6_c128_relu_d1 + identity_s1_c128_d2 | mbconv_k3_s2_e3_c256_relu_d1 + mbconv_k5_s1_e6_c256_relu_d1 + mbconv_k3_s1_e3_c256_relu_d1 | head_c1280_relu", "score": 17.730228169677826, "score_se": 0.0, "fidelity": "log_macs", "accuracy": null, "accuracy_se": null, "cross_entropy": null, "test_accuracy": null, "test_accuracy_se": null, "seconds": 0.000251724000008835, "reason": "", "over": {"macs": -0.16441813333333333, "latency_ms": -0.13657624999999995}, "rungs": {}}');
INSERT INTO "trial_user_attributes" VALUES(32,15,'metrics','{"id": "81958f974079", "state": "complete", "latency_ms": 0.6486121, "macs": 50937728, "params": 2069194, "peak_memory_bytes": 40960, "arch": "r28 stem_k3_s1_c32_relu | mbconv_k3_s2_e3_c64_relu_d1 + identity_s1_c64_d1 | identity_s2_c128_d1 + mbconv_k5_s1_e6_c128_relu_d2 | identity_s2_c256_d1 + mbconv_k3_s1_e3_c256_relu_d1 + mbconv_k5_s1_e6_c256_relu_d1 | head_c1280_relu", "score": 17.746114425028956, "score_se": 0.0, "fidelity": "log_macs", "accuracy": null, "accuracy_se": null, "cross_entropy": null, "test_accuracy": null, "test_accuracy_se": null, "seconds": 0.00027089300010629813, "reason": "", "over": {"macs": -0.15103786666666663, "latency_ms": -0.09914986111111102}, "rungs": {}}');
INSERT INTO "trial_user_attributes" VALUES(33,16,'batch','15');
INSERT INTO "trial_user_attributes" VALUES(34,16,'metrics','{"id": "1ea29fba6a3a", "state": "complete", "latency_ms": 0.32958509999999996, "macs": 25614784, "params": 724842, "peak_memory_bytes": 40960, "arch": "r28 stem_k3_s1_c32_relu | mbconv_k5_s2_e6_c64_relu_d1 + identity_s1_c64_d1 | mbconv_k3_s2_e3_c128_relu_d1 + identity_s1_c128_d2 | mbconv_k5_s2_e6_c256_relu_d1 + identity_s1_c256_d2 | head_c1280_relu", "score": 17.05868024276084, "score_se": 0.0, "fidelity": "log_macs", "accuracy": null, "accuracy_se": null, "cross_entropy": null, "test_accuracy": null, "test_accuracy_se": null, "seconds": 0.00016809999988254276, "reason": "", "over": {"macs": -0.5730869333333333, "latency_ms": -0.5422429166666667}, "rungs": {}}');
CREATE TABLE trial_values (
	trial_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	value FLOAT, 
	value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_value_id), 
	UNIQUE (trial_id, objective), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_values" VALUES(1,1,0,1.57336935520019078889e+01,'FINITE');
INSERT INTO "trial_values" VALUES(2,1,1,0.0921861,'FINITE');
INSERT INTO "trial_values" VALUES(3,2,0,1.76206073782691206019e+01,'FINITE');
INSERT INTO "trial_values" VALUES(4,2,1,4.88395099999999915407e-01,'FINITE');
INSERT INTO "trial_values" VALUES(5,3,0,0.0,'FINITE');
INSERT INTO "trial_values" VALUES(6,3,1,8.9865810000000012625e-01,'FINITE');
INSERT INTO "trial_values" VALUES(7,4,0,1.74983976939481671313e+01,'FINITE');
INSERT INTO "trial_values" VALUES(8,4,1,0.4733321,'FINITE');
INSERT INTO "trial_values" VALUES(9,5,0,0.0,'FINITE');
INSERT INTO "trial_values" VALUES(10,5,1,7.60575100000000059452e-01,'FINITE');
INSERT INTO "trial_values" VALUES(11,6,0,0.0,'FINITE');
INSERT INTO "trial_values" VALUES(12,6,1,0.7622191,'FINITE');
INSERT INTO "trial_values" VALUES(13,7,0,0.0,'FINITE');
INSERT INTO "trial_values" VALUES(14,7,1,0.8150251,'FINITE');
INSERT INTO "trial_values" VALUES(15,8,0,0.0,'FINITE');
INSERT INTO "trial_values" VALUES(16,8,1,0.8356991,'FINITE');
INSERT INTO "trial_values" VALUES(17,9,0,0.0,'FINITE');
INSERT INTO "trial_values" VALUES(18,9,1,0.7658591,'FINITE');
INSERT INTO "trial_values" VALUES(19,10,0,1.77555433607198196455e+01,'FINITE');
INSERT INTO "trial_values" VALUES(20,10,1,0.6377691,'FINITE');
INSERT INTO "trial_values" VALUES(21,11,0,1.72420627069277152543e+01,'FINITE');
INSERT INTO "trial_values" VALUES(22,11,1,3.84145099999999961593e-01,'FINITE');
INSERT INTO "trial_values" VALUES(23,12,0,1.78640418008145900334e+01,'FINITE');
INSERT INTO "trial_values" VALUES(24,12,1,0.6836151,'FINITE');
INSERT INTO "trial_values" VALUES(25,13,0,1.78538427787662321577e+01,'FINITE');
INSERT INTO "trial_values" VALUES(26,13,1,0.7075551,'FINITE');
INSERT INTO "trial_values" VALUES(27,14,0,1.77302281696778258886e+01,'FINITE');
INSERT INTO "trial_values" VALUES(28,14,1,0.6216651,'FINITE');
INSERT INTO "trial_values" VALUES(29,15,0,1.77461144250289564188e+01,'FINITE');
INSERT INTO "trial_values" VALUES(30,15,1,0.6486121,'FINITE');
INSERT INTO "trial_values" VALUES(31,16,0,1.70586802427608397181e+01,'FINITE');
INSERT INTO "trial_values" VALUES(32,16,1,3.29585099999999964204e-01,'FINITE');
CREATE TABLE trials (
	trial_id INTEGER NOT NULL, 
	number INTEGER, 
	study_id INTEGER, 
	state VARCHAR(8) NOT NULL, 
	datetime_start DATETIME, 
	datetime_complete DATETIME, 
	PRIMARY KEY (trial_id), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "trials" VALUES(1,0,1,'COMPLETE','2026-11-29 04:07:36.561926','2026-11-29 04:07:39.946788');
INSERT INTO "trials" VALUES(2,1,1,'COMPLETE','2026-11-29 04:07:36.886237','2026-11-29 04:07:40.151832');
INSERT INTO "trials" VALUES(3,2,1,'COMPLETE','2026-11-29 04:07:37.196481','2026-11-29 04:07:40.371128');
INSERT INTO "trials" VALUES(4,3,1,'COMPLETE','2026-11-29 04:07:37.527272','2026-11-29 04:07:40.605650');
INSERT INTO "trials" VALUES(5,4,1,'COMPLETE','2026-11-29 04:07:37.881753','2026-11-29 04:07:40.788624');
INSERT INTO "trials" VALUES(6,5,1,'COMPLETE','2026-11-29 04:07:38.247356','2026-11-29 04:07:40.937948');
INSERT INTO "trials" VALUES(7,6,1,'COMPLETE','2026-11-29 04:07:38.599868','2026-11-29 04:07:41.108512');
INSERT INTO "trials" VALUES(8,7,1,'COMPLETE','2026-11-29 04:07:39.043116','2026-11-29 04:07:41.276818');
INSERT INTO "trials" VALUES(9,8,1,'COMPLETE','2026-11-29 04:07:41.381654','2026-11-29 04:07:44.629694');
INSERT INTO "trials" VALUES(10,9,1,'COMPLETE','2026-11-29 04:07:41.826238','2026-11-29 04:07:44.796503');
INSERT INTO "trials" VALUES(11,10,1,'COMPLETE','2026-11-29 04:07:42.345891','2026-11-29 04:07:44.930715');
INSERT INTO "trials" VALUES(12,11,1,'COMPLETE','2026-11-29 04:07:42.773466','2026-11-29 04:07:45.049921');
INSERT INTO "trials" VALUES(13,12,1,'COMPLETE','2026-11-29 04:07:43.201245','2026-11-29 04:07:45.194106');
INSERT INTO "trials" VALUES(14,13,1,'COMPLETE','2026-11-29 04:07:43.637336','2026-11-29 04:07:45.368715');
INSERT INTO "trials" VALUES(15,14,1,'COMPLETE','2026-11-29 04:07:44.049668','2026-11-29 04:07:45.497876');
INSERT INTO "trials" VALUES(16,15,1,'COMPLETE','2026-11-29 04:07:45.586563','2026-11-29 04:07:46.048568');
CREATE TABLE version_info (
	version_info_id INTEGER NOT NULL, 
	schema_version INTEGER, 
	library_version VARCHAR(256), 
	PRIMARY KEY (version_info_id), 
	CHECK (version_info_id=1)
);
INSERT INTO "version_info" VALUES(1,12,'5.0.0');
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE INDEX ix_trials_study_id ON trials (study_id);
COMMIT;
