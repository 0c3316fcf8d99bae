// swift-tools-version: 6.2
// SPDX-License-Identifier: LGPL-3.0-only

import PackageDescription

let package = Package(
  name: "benchmarks",
  dependencies: [
    .package(name: "flux-delegate", path: ".."), .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
  ],
  targets: [
    .executableTarget(
      name: "DelegateBenchmark",
      dependencies: [
        .product(name: "FluxConnection", package: "flux-delegate"), .product(name: "FluxJob", package: "flux-delegate"),
        .product(name: "FluxWire", package: "flux-delegate"), .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOPosix", package: "swift-nio"),
      ],
      swiftSettings: [.swiftLanguageMode(.v6), .treatAllWarnings(as: .error)])
  ]
)
