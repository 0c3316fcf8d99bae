// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// What a well-formed request of a topic looks like: what the fuzzer begins with.
///
/// Some texts stand for something of the moment: `$id` for a job's id, `$J` for a signed jobspec, `$tag` for an earlier match tag, `$ns` and
/// `$guest` for a job's namespace and directory, `$pid` for a process.
struct Template {
  var payload: JSON
  var isStreaming = false

  /// A topic of which nothing is said here has these: its members are found by the names that others have.
  private static let unknown = [Template(payload: ["id": "$id"]), Template(payload: [:], isStreaming: true)]

  static func of(_ topic: String) -> [Template] { known[topic] ?? unknown }

  static let known: [String: [Template]] = {
    var all: [String: [Template]] = [:]
    for (topic, payload) in requests { all[topic, default: []].append(Template(payload: payload)) }
    for (topic, payload) in streams { all[topic, default: []].append(Template(payload: payload, isStreaming: true)) }
    return all
  }()

  /// The names of all members, and all values: what a mutation takes others from.
  static let keys = Array(Set(known.values.joined().flatMap { names(in: $0.payload) } + more)).sorted()

  private static let more = [
    "environment", "shell", "options", "per_slot", "exclusive", "files", "mode", "encoding", "data", "requires",
    "policy", "limits", "queues", "scheduling", "type", "key", "value",
  ]

  private static func names(in json: JSON) -> [String] {
    switch json {
    case .object(let object): object.keys + object.keys.flatMap { names(in: object[$0] ?? .null) }
    case .array(let array): array.flatMap(names)
    default: []
    }
  }

  private static let requests: [(String, JSON)] = [
    ("attr.get", ["name": "rank"]), ("attr.list", [:]), ("attr.rm", ["name": "test.a"]),
    ("attr.set", ["name": "test.a", "value": "1", "force": false]), ("config.get", [:]), ("config.reload", [:]),
    (
      "config.load",
      [
        "queues": ["batch": ["requires": ["big"]], "debug": ["policy": ["jobspec": ["defaults": ["system": [:]]]]]],
        "policy": ["jobspec": ["defaults": ["system": ["queue": "batch", "duration": "1h"]]]],
      ]
    ),
    ("config.load", ["policy": ["limits": ["duration": "2h"]], "other": 1]), ("event.subscribe", ["topic": "job"]),
    ("event.subscribe", ["topic": "heartbeat.pulse"]), ("event.unsubscribe", ["topic": "job"]),
    ("event.publish", ["topic": "job.x", "flags": 0, "payload": "e30A"]), ("log.append", [:]), ("log.clear", [:]),
    ("log.cancel", ["matchtag": "$tag"]), ("groups.get", ["name": "broker.online"]),
    ("job-ingest.submit", ["J": "$J", "urgency": 16, "flags": 0]),
    ("job-ingest.submit", ["J": "$J", "urgency": 31, "flags": 6]),
    ("job-manager.raise", ["id": "$id", "type": "cancel", "severity": 0, "note": "why"]),
    ("job-manager.raise", ["id": "$id", "type": "x", "severity": 1, "note": "", "wait_status": 256]),
    (
      "job-manager.raiseall",
      ["dry_run": false, "userid": -1, "states": 62, "type": "cancel", "severity": 0, "note": ""]
    ),
    ("job-manager.kill", ["id": "$id", "signum": 15]), ("job-manager.urgency", ["id": "$id", "urgency": 0]),
    ("job-manager.memo", ["id": "$id", "volatile": false, "memo": ["a": ["b": 1]]]),
    ("job-manager.update", ["id": "$id", "updates": ["attributes.system.duration": 100.5]]),
    ("job-manager.update", ["id": "$id", "updates": ["attributes.system.queue": "debug"]]),
    ("job-manager.wait", ["id": "$id"]), ("job-manager.wait", ["id": -1]),
    ("job-manager.getattr", ["id": "$id", "attrs": ["jobspec", "R", "eventlog"]]),
    ("job-manager.post-event.post", ["id": "$id", "name": "prolog-start", "context": ["description": "p"]]),
    ("job-manager.post-event.post", ["id": "$id", "name": "set-flags", "context": ["flags": ["alloc-bypass"]]]),
    (
      "job-manager.post-event.post",
      [
        "id": "$id", "name": "jobspec-update",
        "context": [
          "attributes.system.duration": 5.0,
          "resources": [
            [
              "type": "node", "count": 1,
              "with": [["type": "slot", "count": 1, "label": "task", "with": [["type": "core", "count": 1]]]],
            ]
          ],
        ],
      ]
    ),
    ("job-manager.post-event.post", ["id": "$id", "name": "resource-update", "context": ["expiration": 1.5]]),
    ("job-manager.list", ["max_entries": 10, "attrs": []]), ("job-manager.getinfo", [:]),
    ("job-manager.history.get", ["slice": "[-2:1]"]), ("job-manager.queue-list", [:]),
    ("job-manager.queue-status", ["name": "batch"]), ("job-manager.queue-status", [:]),
    ("job-manager.queue-enable", ["name": "batch", "enable": false, "reason": "r", "all": false]),
    ("job-manager.queue-start", ["start": true, "all": true]), ("job-manager.alloc-query", [:]),
    ("job-manager.drain", [:]), ("job-manager.idle", [:]), ("job-manager.stats-get", [:]),
    ("job-manager.killall", ["dry_run": false, "userid": -1, "signum": 9]),
    ("job-manager.purge", ["age_limit": -1.0, "num_limit": 0, "batch": 10, "force": true]),
    ("job-manager.purge-id", ["id": "$id", "force": 1]),
    ("job-manager.jobtap", ["load": "/missing/plugin.so", "conf": ["a": 1]]),
    ("job-manager.jobtap", ["remove": "all", "query_only": false]), ("job-manager.jobtap-query", ["name": "p.so"]),
    ("job-manager.events-journal-cancel", ["matchtag": "$tag"]),
    ("job-info.lookup", ["id": "$id", "keys": ["J", "jobspec", "R", "eventlog"], "flags": 3]),
    ("job-info.lookup", ["id": "$id", "keys": ["guest.output", "guest.exec.eventlog"], "flags": 0]),
    ("job-info.eventlog-watch-cancel", ["matchtag": "$tag"]), ("job-info.update-watch-cancel", ["matchtag": "$tag"]),
    ("job-info.update-lookup", ["id": "$id", "key": "R", "flags": 0]),
    (
      "job-list.list",
      [
        "max_entries": 5, "since": 0.0, "attrs": ["all"],
        "constraint": [
          "and": [
            ["states": ["running", 62]], ["or": [["userid": [0]], ["name": ["a"]], ["queue": ["batch"]]]],
            ["not": [["results": ["failed"]], ["t_submit": [">=1.5"]], ["hostlist": ["n[0-3]"]], ["ranks": ["0-3"]]]],
          ]
        ],
      ]
    ),
    ("job-list.list-id", ["id": "$id", "attrs": ["state", "ranks"]]), ("job-list.list-attrs", [:]),
    ("job-list.job-stats", [:]), ("resource.sched-status", [:]), ("sched.resource-status", [:]),
    ("resource.status", [:]), ("resource.drain", ["targets": "0-1", "reason": "r", "mode": "update"]),
    ("resource.undrain", ["targets": "n[0-1]", "mode": "update"]), ("feasibility.check", ["jobspec": "$jobspec"]),
    ("rexec.kill", ["pid": "$pid", "signum": 15]), ("state-machine.get", [:]), ("state-machine.monitor", ["final": 5]),
    ("shutdown.start", ["loglevel": 7]), ("service.add", ["service": "mine"]), ("service.remove", ["service": "mine"]),
    (
      "kvs.commit",
      [
        "namespace": "$ns", "flags": 0,
        "ops": [
          ["key": "output", "flags": 32, "dirent": ["ver": 1, "type": "val", "data": "e30K"]],
          ["key": "exec.eventlog", "flags": 0, "dirent": .null],
        ],
      ]
    ),
    (
      "kvs.commit",
      [
        "namespace": "primary", "flags": 0,
        "ops": [["key": "delegate.a", "flags": 0, "dirent": ["ver": 1, "type": "val", "data": "YQ=="]]],
      ]
    ),
    ("kvs.lookup", ["namespace": "primary", "key": "resource.R", "flags": 0]),
    ("kvs.lookup", ["namespace": "primary", "key": "delegate.a", "flags": 0]),
    ("kvs.lookup", ["namespace": "primary", "key": "$guest", "flags": 16]),
    ("kvs.lookup", ["namespace": "$ns", "key": "exec.eventlog", "flags": 0]),
    ("kvs.namespace-create", ["namespace": "$ns", "owner": 0, "flags": 0]),
    ("kvs.namespace-remove", ["namespace": "$ns"]),
    ("$shell", ["stream": "stdin", "rank": "all", "data": "abc", "eof": false]),
    ("$shell", ["stream": "stdin", "rank": "0-1", "data": "YWJj", "encoding": "base64", "eof": true]),
    ("broker.ping", ["seq": 1, "pad": ""]), ("mine.method", ["a": 1]),
  ]

  private static let streams: [(String, JSON)] = [
    ("log.dmesg", ["follow": true, "nobacklog": false]), ("log.dmesg", ["follow": false]),
    ("job-manager.events-journal", ["full": true, "allow": ["submit": 1, "memo": 1], "deny": ["free": 1]]),
    ("job-manager.events-journal", [:]),
    ("job-info.eventlog-watch", ["id": "$id", "path": "eventlog", "flags": 0]),
    ("job-info.eventlog-watch", ["id": "$id", "path": "guest.output", "flags": 3]),
    ("job-info.eventlog-watch", ["id": "$id", "path": "guest.exec.eventlog", "flags": 1]),
    ("job-info.update-watch", ["id": "$id", "key": "R", "flags": 0]),
    ("job-info.update-watch", ["id": "$id", "key": "jobspec", "flags": 0]),
    ("job-list.list", ["max_entries": 0, "since": 0.0, "attrs": ["state"], "constraint": ["or": []]]),
    ("job-list.job-stats", [:]), ("state-machine.monitor", ["final": 11]), ("shutdown.start", ["loglevel": 7]),
    ("rexec.exec", ["cmd": ["cmdline": ["sleep", "1"], "cwd": "/", "env": [:], "opts": [:]], "flags": 0]),
    ("rexec.exec", ["cmd": ["cmdline": ["true"]], "flags": 0]), ("mine.stream", [:]),
  ]
}

// MARK: Jobspecs

extension Template {
  private static func jobspec(_ command: JSON, _ resources: JSON, _ system: JSON) -> JSON {
    [
      "version": 1, "resources": [resources],
      "tasks": [["command": command, "slot": "task", "count": ["per_slot": 1]]], "attributes": ["system": system],
    ]
  }

  private static let core: JSON = [
    "type": "slot", "count": 1, "label": "task", "with": [["type": "core", "count": 1]],
  ]

  static let jobspecs: [JSON] = [
    jobspec(["sleep", "inf"], core, ["duration": 0.0, "cwd": "/", "environment": ["PATH": "/bin"]]),
    jobspec(["true"], core, ["duration": 10.0]),
    jobspec(
      ["sleep", "{{id.dec}}"],
      [
        "type": "node", "count": 2, "exclusive": true,
        "with": [
          [
            "type": "slot", "count": 1, "label": "task",
            "with": [["type": "core", "count": 2], ["type": "gpu", "count": 1]],
          ]
        ],
      ],
      [
        "duration": 60.0, "job": ["name": "a"],
        "constraints": ["and": [["properties": ["big"]], ["not": [["hostlist": ["n[1-3]"]]]], ["ranks": ["0-3"]]]],
      ]),
    jobspec(
      ["sleep"], core,
      [
        "duration": 5.0, "job": ["name": "single"],
        "dependencies": [["scheme": "singleton", "value": ""], ["scheme": "begin-time", "value": "1700000005.5"]],
      ]),
    jobspec(
      ["sleep"], core,
      [
        "duration": 0.0,
        "dependencies": [["scheme": "afterok", "value": "$f58"], ["scheme": "after", "value": "$f58", "x": 1]],
      ]),
    jobspec(
      ["sleep"], core,
      [
        "duration": 0.0,
        "dependencies": [
          ["scheme": "afterany", "value": "$f58"], ["scheme": "afterexcept", "value": "$f58"],
          ["scheme": "afternotok", "value": "$f58"],
        ],
      ]),
    jobspec(
      ["sleep"], ["type": "slot", "count": 3, "label": "task", "with": [["type": "core", "count": 4]]],
      [
        "duration": 100.0,
        "files": ["a": ["mode": 420, "data": "x", "encoding": "utf-8"], "b/c": ["data": ["x": 1]]],
        "shell": [
          "options": [
            "rlimit": ["nofile": 100, "core": -1], "exit-timeout": "30s", "exit-on-error": 1,
            "signal": ["signum": 10, "timeleft": 20.0], "gpu-affinity": "map:0;1-2",
            "output": [
              "mode": "append",
              "stdout": [
                "type": "file", "path": "out-{{id}}-{{task.rank}}-{{node.cores}}-{{size}}", "label": true,
                "buffer": ["type": "none"],
              ],
              "stderr": ["type": "kvs"],
            ],
            "input": ["stdin": ["type": "file", "path": "in"]], "pmi": "off", "pty": ["interactive": 1],
          ]
        ],
      ]),
    jobspec(
      ["missing"], core,
      ["duration": 0.0, "cwd": "/missing", "shell": ["options": ["output": ["stdout": ["path": "missing"]]]]]),
    jobspec(["sleep"], core, ["duration": 0.0, "queue": "batch"]),
  ]
}
