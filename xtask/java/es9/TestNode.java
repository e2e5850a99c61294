// Starts one Elasticsearch 9 node out of the jars of Maven Central, without the distribution's launcher: no security manager, no
// entitlements and no bootstrap checks, which a node on loopback does not need. Arguments: home, data folder, HTTP port, transport port.
import java.nio.file.Path;
import java.util.Map;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.env.Environment;
import org.elasticsearch.node.Node;
import org.elasticsearch.plugins.PluginsLoader;

public final class TestNode {
    private TestNode() {}

    public static void main(String[] arguments) throws Exception {
        Path home = Path.of(arguments[0]);
        Settings settings = Settings.builder()
            .put("path.home", home.toString())
            .put("path.data", arguments[1])
            .put("path.logs", home.resolve("logs").toString())
            .put("node.name", "wiesel-es9")
            .put("cluster.name", "wiesel-es9")
            .put("discovery.type", "single-node")
            .put("network.host", "127.0.0.1")
            .put("http.port", arguments[2])
            .put("transport.port", arguments[3])
            .put("cluster.routing.allocation.disk.threshold_enabled", false)
            .build();
        LogConfigurator.setNodeName("wiesel-es9");
        LogConfigurator.registerErrorListener();
        Environment environment = new Environment(settings, home.resolve("config"));
        LogConfigurator.configure(environment, true);
        // The last argument says "not as Java modules": the server itself is on the class path here.
        PluginsLoader plugins = PluginsLoader.createPluginsLoader(
            PluginsLoader.loadModulesBundles(home.resolve("modules"), false),
            PluginsLoader.loadPluginsBundles(home.resolve("plugins"), false),
            Map.of(),
            false);
        Node node = new Node(environment, plugins);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                node.close();
            } catch (java.io.IOException error) {
                error.printStackTrace();
            }
        }));
        node.start();
        System.out.println("node is ready");
        // All threads of a node are daemons: the main thread keeps the process alive until a signal ends it.
        Thread.currentThread().join();
    }
}
