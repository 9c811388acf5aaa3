// What the options and fields of each kind of panel may be, as Grafana publishes it: for test_grafana.py.
import type * as BarChart from "./node_modules/@grafana/schema/dist/types/raw/composable/barchart/panelcfg/x/types.gen";
import type * as Stat from "./node_modules/@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/types.gen";
import type * as Table from "./node_modules/@grafana/schema/dist/types/raw/composable/table/panelcfg/x/types.gen";
import type * as TimeSeries from "./node_modules/@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/types.gen";

export interface Panels {
    barchart: { options?: Partial<BarChart.Options>; custom?: Partial<BarChart.FieldConfig> };
    stat: { options?: Partial<Stat.Options>; custom?: {} };
    table: { options?: Partial<Table.Options>; custom?: Partial<Table.FieldConfig> };
    timeseries: { options?: Partial<TimeSeries.Options>; custom?: Partial<TimeSeries.FieldConfig> };
}
