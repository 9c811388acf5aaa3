select
    'flights' as kpi_name,
    'source' as source_name,
    count(*) as kpi_value
from {{ source("raw", "flights") }}
union all
select
    'flights' as kpi_name,
    'fct_flights' as source_name,
    count(*) as kpi_value
from {{ ref("fct_flights") }}
