// swift-tools-version: 6.2
// SPDX-License-Identifier: LGPL-3.0-only

import PackageDescription

/// Every target: Swift 6 mode, and a warning is an error.
let strict: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .treatAllWarnings(as: .error),
  .enableUpcomingFeature("ExistentialAny"),
]

let nio: [Target.Dependency] = [
  .product(name: "NIOCore", package: "swift-nio"),
  .product(name: "NIOPosix", package: "swift-nio"),
]
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let arguments: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let subprocess: Target.Dependency = .product(name: "Subprocess", package: "swift-subprocess")
let systemPackage: Target.Dependency = .product(name: "SystemPackage", package: "swift-system")

/// The plugin finds the host's functions in the process that loads it, so the executable has to show them.
let exportHostSymbols: [LinkerSetting] = [
  .unsafeFlags(["-use-ld=lld", "-Xlinker", "--export-dynamic-symbol=flux_*"])
]

let package = Package(
  name: "flux-delegate",
  products: [
    .executable(name: "flux-delegate", targets: ["flux-delegate"]),
    .library(name: "delegate", type: .dynamic, targets: ["DelegatePlugin"]),
    .library(name: "FluxJob", targets: ["FluxJob"]),
    .library(name: "FluxWire", targets: ["FluxWire"]),
    .library(name: "FluxConnection", targets: ["FluxConnection"]),
    .library(name: "EmbeddedFlux", targets: ["EmbeddedFlux"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
    .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2", traits: []),
  ],
  targets: [
    // Ground floor: values.
    .target(name: "FluxJob", swiftSettings: strict),
    .target(
      name: "FluxWire", dependencies: ["FluxJob", .product(name: "NIOCore", package: "swift-nio")],
      swiftSettings: strict),
    .target(name: "Delegation", dependencies: ["FluxJob"], swiftSettings: strict),

    // Floor 1 and 2: connections, and the drivers of kinds of cluster.
    .target(
      name: "FluxConnection",
      dependencies: nio + ["FluxJob", "FluxWire", logging, subprocess, systemPackage],
      swiftSettings: strict),
    .target(
      name: "Targets", dependencies: ["FluxJob", "FluxConnection", "Delegation", logging],
      swiftSettings: strict),

    // Floor 3: the processes.
    .target(
      name: "Agent",
      dependencies: nio + ["FluxJob", "FluxConnection", "Delegation", "Targets", logging],
      swiftSettings: strict),
    .target(name: "CJobtap"),
    .target(name: "CJobtapHost", dependencies: ["CJobtap"]),
    .target(name: "CSpawn"),
    // Debian has the static library beside the shared one: a release needs nothing where it runs.
    .target(
      name: "CSQLite",
      linkerSettings: [
        .linkedLibrary("sqlite3", .when(configuration: .debug)),
        .unsafeFlags(["-Xlinker", "-l:libsqlite3.a"], .when(configuration: .release)),
      ]),
    .target(
      name: "EmbeddedFlux",
      dependencies: nio + [
        "FluxJob", "FluxWire", "FluxConnection", "CJobtap", "CJobtapHost", "CSpawn", "CSQLite", logging,
      ],
      swiftSettings: strict, linkerSettings: exportHostSymbols),

    // Floor 4 and 5: commands, the executable, the plugin.
    .target(
      name: "DelegateCommands",
      dependencies: [
        "FluxJob", "FluxWire", "FluxConnection", "Agent", "EmbeddedFlux", arguments, logging, subprocess,
        systemPackage,
      ],
      swiftSettings: strict),
    .executableTarget(
      name: "flux-delegate", dependencies: ["DelegateCommands"], swiftSettings: strict),
    .target(
      name: "DelegatePlugin", dependencies: ["FluxJob", "Delegation", "CJobtap"], exclude: ["exports.map"],
      swiftSettings: strict,
      linkerSettings: [
        // The Swift runtime cannot be unloaded: without nodelete `flux jobtap remove` kills the broker.
        .unsafeFlags([
          "-use-ld=lld", "-Xlinker", "-z", "-Xlinker", "nodelete",
          "-Xlinker", "--version-script=\(Context.packageDirectory)/Sources/DelegatePlugin/exports.map",
        ])
      ]),

    .testTarget(name: "FluxJobTests", dependencies: ["TestSupport", "FluxJob"], swiftSettings: strict),
    .testTarget(
      name: "FluxWireTests",
      dependencies: [
        "FluxWire", "FluxJob", .product(name: "NIOTestUtils", package: "swift-nio"),
        .product(name: "NIOEmbedded", package: "swift-nio"),
      ],
      swiftSettings: strict),
    .testTarget(
      name: "FluxConnectionTests", dependencies: ["FluxConnection", "FluxWire", "FluxJob", logging] + nio,
      swiftSettings: strict),
    .testTarget(name: "DelegationTests", dependencies: ["Delegation", "FluxJob"], swiftSettings: strict),
    .testTarget(
      name: "SimulationTests", dependencies: ["TestSupport", "Delegation", "FluxJob"], swiftSettings: strict),
    .testTarget(
      name: "AgentTests",
      dependencies: [
        "TestSupport", "Agent", "Targets", "Delegation", "FluxConnection", "FluxWire", "FluxJob", logging,
      ],
      swiftSettings: strict),
    .testTarget(
      name: "TargetsTests",
      dependencies: [
        "TestSupport", "Targets", "Delegation", "EmbeddedFlux", "FluxConnection", "FluxWire", "FluxJob", logging,
      ],
      swiftSettings: strict, linkerSettings: exportHostSymbols),
    .testTarget(
      name: "EmbeddedFluxTests",
      dependencies: ["TestSupport", "EmbeddedFlux", "FluxConnection", "FluxJob"],
      swiftSettings: strict, linkerSettings: exportHostSymbols),
    // What tests of real processes share.
    .target(
      name: "TestSupport", dependencies: nio + ["FluxJob", "FluxWire", "FluxConnection", subprocess, systemPackage],
      path: "Tests/TestSupport", swiftSettings: strict),
    .testTarget(
      name: "EndToEndTests",
      dependencies: ["TestSupport", "FluxJob", "FluxWire", "FluxConnection", logging, subprocess, systemPackage],
      swiftSettings: strict),
    // Cases are data: a new one needs no build.
    .testTarget(
      name: "ComparisonTests", dependencies: ["TestSupport", "FluxJob"], exclude: ["Cases"], swiftSettings: strict),
    .testTarget(
      name: "ChaosTests",
      dependencies: nio + [
        "TestSupport", "Delegation", "FluxJob", "FluxWire", "FluxConnection", logging, subprocess, systemPackage,
      ],
      swiftSettings: strict),
  ]
)
